"""Largest cosines on the GPU: one product, tile by tile, and nothing of size f × g anywhere.

Each tile sends the best of its rows and columns to one 64-bit key per row: the cosine's bits, made
to order like the values, above; the partner's position, complemented, below. The largest key is
kept by an atomic maximum of whole numbers, which does not depend on who comes first.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from sae_kernels.launch import launch
from sae_kernels.max_cosine.reference import MaxCosine
from sae_kernels.tiles_fused import product_tile, tile_of

_BLOCK, _BLOCK_K = 64, 32


@torch.no_grad()
def max_cosine(a: torch.Tensor, b: torch.Tensor, *, block: int) -> MaxCosine:
    """Largest cosines both ways; of equal ones the lowest index. The tile is this form's own."""
    a, b = a.contiguous(), b.contiguous()
    best_a, best_b = (
        torch.full((len(rows),), -(2**63), dtype=torch.int64, device=rows.device) for rows in (a, b)
    )
    arguments = {
        "a": a,
        "b": b,
        "scale_a": _inverse_norms(a),
        "scale_b": _inverse_norms(b),
        "best_a": best_a,
        "best_b": best_b,
        "f": len(a),
        "g": len(b),
        "d": a.shape[1],
    }
    constants = {
        "WIDEN": a.dtype != b.dtype or a.device.type == "cpu",
        "BLOCK_M": _BLOCK,
        "BLOCK_N": 2 * _BLOCK,
        "BLOCK_K": _BLOCK_K,
        "GROUP_M": 8,
    }
    grid = (triton.cdiv(len(a), _BLOCK) * triton.cdiv(len(b), 2 * _BLOCK),)
    launch(_tile_maxima, grid, arguments, constants=constants, num_warps=8, num_stages=3)
    return MaxCosine(*_unpacked(best_a, a.dtype), *_unpacked(best_b, b.dtype))


def _inverse_norms(rows: torch.Tensor) -> torch.Tensor:
    norms = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float32)
    return norms.clamp_(min=1e-12).reciprocal_()


def _unpacked(keys: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    bits = keys >> 32
    bits = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int32)
    return bits.view(torch.float32).to(dtype), 0x7FFFFFFF - (keys & 0x7FFFFFFF)


@triton.jit
def _ordered(values):
    """Bits of the values as int32 that order like them; −0 like 0."""
    bits = tl.where(values == 0, 0.0, values).to(tl.int32, bitcast=True)
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


@triton.jit
def _tile_maxima(
    a,
    b,
    scale_a,
    scale_b,
    best_a,
    best_b,
    f,
    g,
    d,
    WIDEN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    n_tiles = tl.cdiv(g, BLOCK_N)
    row_tile, tile = tile_of(tl.program_id(0), f, n_tiles, BLOCK_M, GROUP_M)
    rows = (row_tile * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    columns = (tile * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)
    total = product_tile(
        a, b, rows, rows < f, columns, columns < g, d, WIDEN, BLOCK_M, BLOCK_N, BLOCK_K
    )
    total *= tl.load(scale_a + rows, mask=rows < f, other=0.0)[:, None]
    total *= tl.load(scale_b + columns, mask=columns < g, other=0.0)[None, :]
    bits = _ordered(total)
    lowest = -2147483648
    bits = tl.where((rows < f)[:, None] & (columns < g)[None, :], bits, lowest)
    best = tl.max(bits, axis=1)
    at = tl.min(tl.where(bits == best[:, None], columns[None, :], 0x7FFFFFFF), axis=1)
    keys = (best.to(tl.int64) << 32) | (0x7FFFFFFF - at)
    tl.atomic_max(best_a + rows, keys, mask=rows < f, sem="relaxed")
    best = tl.max(bits, axis=0)
    at = tl.min(tl.where(bits == best[None, :], rows[:, None], 0x7FFFFFFF), axis=0)
    keys = (best.to(tl.int64) << 32) | (0x7FFFFFFF - at)
    tl.atomic_max(best_b + columns, keys, mask=columns < g, sem="relaxed")
