"""Linear + threshold on the GPU without the (n, f) outputs: only entries above it leave the chip.

The product is made tile by tile. A tile counts its entries above the threshold in each row, takes
as many places of the row's list by adding to the row's counter, and writes its entries there as
keys, position above and value below. Which tile comes first is chance; the keys are sorted
afterwards, so what comes out is not. Entries beyond the list's capacity are counted and not
written: rows with any are made again with a list as long as the longest count.
How many entries come out depends on the numbers: this operation waits for the device.
"""

from __future__ import annotations

from functools import partial

import torch
import triton
import triton.language as tl

from sae_kernels.code_fused import FusedCode, uneven_code
from sae_kernels.code_product import ragged_outputs
from sae_kernels.launch import launch
from sae_kernels.linear_topk.candidates_fused import Layer
from sae_kernels.ragged import RaggedCode
from sae_kernels.tiles_fused import product_tile, tile_of

# Keys that one call of the product may write: 128 MB. More rows are made in several calls.
_MOST_KEYS = 2**24
_LAST = 2**63 - 1


def linear_threshold(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    threshold: torch.Tensor,
    *,
    capacity: int,
) -> RaggedCode:
    """The entries of x·weightᵀ + bias that are > 0 and > the threshold."""
    return ragged_outputs(x, weight, bias, partial(_above, threshold=threshold, capacity=capacity))


def _above(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    threshold: torch.Tensor,
    capacity: int,
) -> tuple[FusedCode, torch.Tensor]:
    layer = Layer(x.contiguous(), weight.contiguous(), bias.contiguous(), None, None)
    found = []
    waiting = [(torch.arange(len(x), device=x.device), min(capacity, len(weight)))]
    while waiting:
        tokens, room = waiting.pop()
        for rows in tokens.split(max(1, _MOST_KEYS // room)):
            keys, counts = above_keys(layer._replace(x=layer.x[rows]), threshold, room)
            most = int(counts.max()) if len(rows) else 0
            if most > room:
                # A row has at most f entries, so this ends.
                waiting.append((rows[counts > room], most))
            keys = keys[counts <= room, : min(most, room)].sort(1).values
            inside = keys != _LAST
            of_token = rows[counts <= room].unsqueeze(1).expand_as(keys)[inside]
            found.append((of_token, keys[inside]))
    rows, keys = (torch.cat(parts) for parts in zip(*found, strict=True))
    rows, order = rows.sort(stable=True)
    keys = keys[order]
    values = (keys & 0xFFFFFFFF).to(torch.int32).view(torch.float32)
    return uneven_code(rows, keys >> 32, len(x), None), values.to(x.dtype)


def above_keys(
    layer: Layer, threshold: torch.Tensor, capacity: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys (n, capacity) int64 of entries above the threshold, in no order, and their counts (n,).

    Where a row has fewer, the rest is the largest number; where it has more, some are missing.
    """
    x, weight = layer.x, layer.weight
    (n, d), f = x.shape, len(weight)
    keys = torch.full((n, capacity), _LAST, dtype=torch.int64, device=x.device)
    counts = torch.zeros(n, dtype=torch.int32, device=x.device)
    half = x.dtype != torch.float32 and weight.dtype == x.dtype
    block_m, block_n = 64, min(128, max(16, triton.next_power_of_2(f)))
    n_tiles = triton.cdiv(f, block_n)
    arguments = {
        "x": x,
        "weight": weight,
        "bias": layer.bias,
        "threshold": threshold.contiguous(),
        "keys": keys,
        "counts": counts,
        "n": n,
        "f": f,
        "d": d,
        "n_tiles": n_tiles,
        "capacity": capacity,
    }
    constants = {
        "EACH": threshold.ndim == 1,
        # Triton's interpreter, the only one to run this on the CPU, cannot multiply bfloat16.
        "WIDEN": x.dtype != weight.dtype or x.device.type == "cpu",
        "BLOCK_M": block_m,
        "BLOCK_N": block_n,
        "BLOCK_K": 64 if half else 16,
        "GROUP_M": 8,
    }
    grid = (triton.cdiv(n, block_m) * n_tiles,)
    launch(_above_keys, grid, arguments, constants=constants, num_warps=8, num_stages=3)
    return keys, counts


@triton.jit
def _above_keys(
    x,
    weight,
    bias,
    threshold,
    keys,
    counts,
    n,
    f,
    d,
    n_tiles,
    capacity,
    EACH: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    row_tile, tile = tile_of(tl.program_id(0), n, n_tiles, BLOCK_M, GROUP_M)
    rows = (row_tile * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    columns = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    valid = columns < f
    outputs = columns.to(tl.int64)
    z = product_tile(x, weight, rows, rows < n, outputs, valid, d, WIDEN, BLOCK_M, BLOCK_N, BLOCK_K)
    z += tl.load(bias + outputs, mask=valid, other=0.0).to(tl.float32)[None, :]
    if EACH:
        level = tl.load(threshold + outputs, mask=valid, other=0.0).to(tl.float32)[None, :]
    else:
        level = tl.load(threshold).to(tl.float32)
    # Not below, rather than above: NaN is kept.
    above = ((z <= level) | (z <= 0)) == 0
    above = above & valid[None, :] & (rows < n)[:, None]
    ones = above.to(tl.int32)
    number = tl.sum(ones, axis=1)
    first = tl.atomic_add(counts + rows, number, mask=(rows < n) & (number > 0), sem="relaxed")
    slots = first[:, None] + tl.cumsum(ones, axis=1) - ones
    found = (columns.to(tl.int64) << 32)[None, :] | (
        z.to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF
    )
    places = keys + rows[:, None] * capacity + slots
    tl.store(places, found, mask=above & (slots < capacity))
