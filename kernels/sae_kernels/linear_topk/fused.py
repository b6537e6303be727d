"""Linear + top-k on the GPU without the (n, f) outputs: a few candidates per tile leave the chip.

The product is made tile by tile. Of each row of a tile of T outputs only the c largest entries > 0
are written, each as one 64-bit key: the value's bits above, the position complemented below, so
that larger keys are larger values and of equal ones the lower position. No two keys are equal.
The k largest keys are then taken from the candidates.

Why that is exact. Let the k-th largest candidate be t (0 where there are fewer). An entry that a
tile left out is smaller than each of the c that it kept. If it belonged to the k largest of the
row, all c would belong to them, so the tile's smallest candidate would be >= t. Only such tiles
can hide anything: `mend` makes all of their outputs again and takes the k largest of both. c is
chosen so that for evenly spread outputs about one row in a thousand has such a tile; another
spread costs time, never exactness. Where c would be a large part of the tile, all of it is kept.
"""

from __future__ import annotations

import math
from functools import cache, partial

import torch
import triton

from sae_kernels.code_fused import FusedCode, even_code
from sae_kernels.code_product import KeptOutputs
from sae_kernels.code_sort import CodeSort
from sae_kernels.linear_topk.candidates_fused import Layer, Plan, candidate_keys
from sae_kernels.linear_topk.selection_fused import mend, select

# Keys that one call of the product may write: 128 MB. More rows are made in several calls.
_MOST_KEYS = 2**24
_MOST_MENDED = 1024
_MENDED_SHARE = 1e-3


def linear_topk(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: int,
    *,
    sort: CodeSort | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and values (n, k) of the k largest of x·weightᵀ + bias, after ReLU."""
    code, values = KeptOutputs.apply(x, weight, bias, partial(largest, k=k, sort=sort))
    return code.latents, values


def largest(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    k: int,
    sort: CodeSort | None,
    latents: torch.Tensor | None = None,
    n_live: torch.Tensor | None = None,
) -> tuple[FusedCode, torch.Tensor]:
    """The k largest of all outputs, or of the first `n_live` of a list of outputs `latents`."""
    layer = Layer(x.contiguous(), weight.contiguous(), bias.contiguous(), latents, n_live)
    keys = largest_keys(layer, k)
    values = (keys >> 32).to(torch.int32).view(torch.float32).to(x.dtype)
    positions = torch.where(keys == 0, 0, 0x7FFFFFFF - (keys & 0x7FFFFFFF))
    indices = positions if latents is None else latents[positions]
    return even_code(indices.masked_fill(values == 0, 0), sort), values


@cache
def plan(f: int, k: int, *, half: bool, spread: float) -> Plan:
    """Tiles and candidates; `spread`: how many times more than evenly a tile may be hit."""
    block_n = min(128, max(16, triton.next_power_of_2(f)))
    n_tiles = triton.cdiv(f, block_n)
    kept = candidates(k * block_n / f * spread, n_tiles)
    whole = kept > block_n // 4 or k > _MOST_MENDED
    kept = block_n if whole else kept
    rows_at_once = max(128, _MOST_KEYS // (n_tiles * kept))
    return Plan(
        block_m=128 if half else 64,
        block_n=block_n,
        block_k=64 if half else 16,
        kept=kept,
        whole=whole,
        n_tiles=n_tiles,
        rows_at_once=rows_at_once,
    )


def candidates(mean: float, n_tiles: int) -> int:
    """The least c for which fewer than one row in a thousand has a tile hit c times or more.

    Hits of a tile are taken as Poisson with this mean.
    """
    term = below = math.exp(-mean)
    count = 1
    while term > 0 and n_tiles * (1 - below) > _MENDED_SHARE and count < 4096:
        term *= mean / count
        below += term
        count += 1
    return count


def largest_keys(layer: Layer, k: int) -> torch.Tensor:
    """Keys (n, k) int64 of the k largest outputs > 0, descending; 0 where there are fewer."""
    x, weight = layer.x, layer.weight
    half = x.dtype != torch.float32 and weight.dtype == x.dtype
    made = plan(len(weight), k, half=half, spread=1.0 if layer.latents is None else 4.0)
    found = torch.empty(len(x), k, dtype=torch.int64, device=x.device)
    for start in range(0, len(x), made.rows_at_once):
        part = layer._replace(x=x[start : start + made.rows_at_once])
        top = found[start : start + made.rows_at_once]
        keys = candidate_keys(part, made)
        select(keys, top)
        if not made.whole:
            mend(part, made, keys, top)
    return found
