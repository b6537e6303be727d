"""Linear + batch top-k on the GPU: the candidates of linear_topk, one threshold for the batch.

Let t be the value that is number `count` among the candidates (0 where there are fewer). The true
threshold is not below it, for outputs that were left out can only raise it. An output that a tile
left out is not above the least that the tile kept of its row; so only tiles whose least is >= t
can hide one of the largest. All outputs of those are made again, and the choice is among both.
How many entries come out depends on the numbers: this operation waits for the device.
"""

from __future__ import annotations

from functools import partial

import torch
import triton
import triton.language as tl

from sae_kernels.code_fused import FusedCode, uneven_code
from sae_kernels.code_product import KeptOutputs
from sae_kernels.code_sort import CodeSort
from sae_kernels.launch import launch
from sae_kernels.linear_topk.candidates_fused import Layer, Plan, candidate_keys, ordered_bits
from sae_kernels.linear_topk.fused import plan
from sae_kernels.linear_topk.selection_fused import outputs_of_row
from sae_kernels.ragged import RaggedCode

# Tokens differ in how many of their outputs are kept: tiles keep as many as for twice the mean.
_SPREAD = 2.0


def linear_batch_topk(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    count: int,
    *,
    sort: CodeSort | None,
) -> RaggedCode:
    """The `count` largest entries > 0 of x·weightᵀ + bias over the whole batch."""
    choose = partial(_kept, count=count, sort=sort)
    code, values = KeptOutputs.apply(x, weight, bias, choose)
    return RaggedCode(code.rows, code.latents, values, len(x))


def _kept(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, count: int, sort: CodeSort | None
) -> tuple[FusedCode, torch.Tensor]:
    layer = Layer(x.contiguous(), weight.contiguous(), bias.contiguous(), None, None)
    places, bits = _largest(layer, batch_plan(layer, count), count)
    rows = places.div(len(weight), rounding_mode="floor")
    code = uneven_code(rows, places - rows * len(weight), len(x), sort)
    return code, bits.view(torch.float32).to(x.dtype)


def batch_plan(layer: Layer, count: int) -> Plan:
    """The tiles of linear_topk for the mean number of kept entries per token."""
    x, weight = layer.x, layer.weight
    n, f = max(1, len(x)), len(weight)
    half = x.dtype != torch.float32 and weight.dtype == x.dtype
    return plan(f, min(f, -(-count // n)), half=half, spread=_SPREAD)


def tile_bits(layer: Layer, made: Plan, keys: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Ordered bits (p, tile) of all outputs of the tiles `pairs` (p, 2), rows and tiles.

    0 where an output is not > 0 or is among the tile's candidates already.
    """
    bits = torch.empty(len(pairs), made.block_n, dtype=torch.int32, device=keys.device)
    d = layer.x.shape[1]
    arguments = {
        "x": layer.x,
        "weight": layer.weight,
        "bias": layer.bias,
        "keys": keys,
        "pairs": pairs.contiguous(),
        "bits": bits,
        "f": len(layer.weight),
        "d": d,
        "n_tiles": made.n_tiles,
    }
    constants = {
        "KEPT": made.kept,
        "BLOCK_N": made.block_n,
        "BLOCK_K": max(1, min(triton.next_power_of_2(d), 2048 // made.block_n)),
    }
    launch(_tile_bits, (len(pairs),), arguments, constants=constants)
    return bits


def _largest(layer: Layer, made: Plan, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat places, ascending, of the `count` largest outputs > 0, and their bits as int32."""
    f = len(layer.weight)
    keys = candidate_keys(layer, made)
    bits = (keys >> 32).to(torch.int32)
    least = bits[:, :, -1]
    floor = _ranked(bits.view(-1), count)
    rows, tiles, slots = ((bits > 0) & (bits >= floor)).nonzero(as_tuple=True)
    columns = 0x7FFFFFFF - (keys[rows, tiles, slots] & 0x7FFFFFFF)
    places, found = rows * f + columns, bits[rows, tiles, slots]
    if not made.whole:
        pairs = ((least > 0) & (least >= floor)).nonzero()
        hidden = tile_bits(layer, made, keys, pairs)
        which, inner = ((hidden > 0) & (hidden >= floor)).nonzero(as_tuple=True)
        columns = pairs[which, 1] * made.block_n + inner
        places = torch.cat([places, pairs[which, 0] * f + columns])
        found = torch.cat([found, hidden[which, inner]])
    places, order = places.sort()
    found = found[order]
    last = _ranked(found, count)
    above, equal = found > last, found == last
    needed = count - above.sum()
    kept = above | (equal & (equal.cumsum(0) <= needed))
    return places[kept], found[kept]


def _ranked(bits: torch.Tensor, rank: int) -> torch.Tensor:
    """The value (0-d) that is number `rank` from the largest; 0 where there are fewer."""
    if rank > len(bits):
        return bits.new_zeros(())
    return bits.topk(rank, sorted=False).values.amin()


@triton.jit
def _tile_bits(
    x,
    weight,
    bias,
    keys,
    pairs,
    bits,
    f,
    d,
    n_tiles,
    KEPT: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    pair = tl.program_id(0).to(tl.int64)
    row = tl.load(pairs + 2 * pair)
    tile = tl.load(pairs + 2 * pair + 1)
    column = tl.arange(0, BLOCK_N)
    outputs = tile * BLOCK_N + column
    valid = outputs < f
    z = outputs_of_row(x, weight, bias, row, outputs, valid, d, BLOCK_K)
    found = tl.where(valid, ordered_bits(z), 0)
    for turn in range(KEPT):
        known = tl.load(keys + (row * n_tiles + tile) * KEPT + turn)
        found = tl.where(0x7FFFFFFF - (known & 0x7FFFFFFF) == outputs, 0, found)
    tl.store(bits + pair * BLOCK_N + column, found)
