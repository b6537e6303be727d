"""Triton parts of kernels that make a matrix product tile by tile."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def tile_of(program, n_rows, n_tiles, BLOCK_M: tl.constexpr, GROUP_M: tl.constexpr):
    """The tile's row of tiles and column of tiles.

    Programs that run at the same time share GROUP_M rows of tiles, so that the second matrix is
    read from the cache.
    """
    group = program // (GROUP_M * n_tiles)
    height = min(tl.cdiv(n_rows, BLOCK_M) - group * GROUP_M, GROUP_M)
    within = program % (GROUP_M * n_tiles)
    return group * GROUP_M + within % height, within // height


@triton.jit
def product_tile(
    a,
    b,
    rows,
    rows_valid,
    columns,
    columns_valid,
    d,
    WIDEN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """a[rows] · b[columns]ᵀ in float32, rows of both d long; `rows` and `columns` int64."""
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for start in range(0, d, BLOCK_K):
        inner = start + tl.arange(0, BLOCK_K)
        inside = inner < d
        left_at = a + rows[:, None] * d + inner[None, :]
        left = tl.load(left_at, mask=rows_valid[:, None] & inside[None, :], other=0.0)
        right_at = b + columns[None, :] * d + inner[:, None]
        right = tl.load(right_at, mask=columns_valid[None, :] & inside[:, None], other=0.0)
        if WIDEN:
            left, right = left.to(tl.float32), right.to(tl.float32)
        total = tl.dot(left, right, total, input_precision="ieee")
    return total
