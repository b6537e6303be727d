"""Triton kernels that read the rows of a table that a code names."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from sae_kernels.launch import launch

_BLOCK_K, _BLOCK_D = 8, 512


def weighted_rows(
    indices: torch.Tensor,
    weights: torch.Tensor,
    table: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    dtype: torch.dtype,
    starts: torch.Tensor | None = None,
) -> torch.Tensor:
    """bias + Σ_j weights_nj · table[indices_nj], (n, d), summed in float32.

    `indices` and `weights` (n, k); with `starts` (n + 1,) both are (m,) and token n has the
    entries from starts[n] to starts[n + 1].
    """
    n, k = indices.shape if starts is None else (len(starts) - 1, _BLOCK_K)
    d = table.shape[1]
    out = torch.empty(n, d, dtype=dtype, device=table.device)
    block_d = min(_BLOCK_D, triton.next_power_of_2(d))
    arguments = {
        "indices": indices.contiguous(),
        "weights": weights.contiguous(),
        "table": table.contiguous(),
        "bias": bias if bias is None else bias.contiguous(),
        "starts": starts,
        "out": out,
        "k": k,
        "d": d,
    }
    constants = {
        "HAS_BIAS": bias is not None,
        "RAGGED": starts is not None,
        "BLOCK_K": min(_BLOCK_K, triton.next_power_of_2(max(k, 1))),
        "BLOCK_D": block_d,
    }
    launch(_weighted_rows, (n, triton.cdiv(d, block_d)), arguments, constants=constants)
    return out


def row_dots(
    grad: torch.Tensor, table: torch.Tensor, indices: torch.Tensor, *, dtype: torch.dtype
) -> torch.Tensor:
    """grad_n · table[indices_nj], (n, k), summed in float32."""
    n, k = indices.shape
    d = table.shape[1]
    out = torch.empty(n, k, dtype=dtype, device=table.device)
    block_k = min(_BLOCK_K, triton.next_power_of_2(max(k, 1)))
    arguments = {
        "grad": grad.contiguous(),
        "table": table.contiguous(),
        "indices": indices.contiguous(),
        "out": out,
        "k": k,
        "d": d,
    }
    constants = {"BLOCK_K": block_k, "BLOCK_D": min(_BLOCK_D, triton.next_power_of_2(d))}
    launch(_row_dots, (n, triton.cdiv(k, block_k)), arguments, constants=constants)
    return out


def entry_dots(
    grad: torch.Tensor,
    rows: torch.Tensor,
    table: torch.Tensor,
    columns: torch.Tensor,
    *,
    dtype: torch.dtype,
) -> torch.Tensor:
    """grad[rows_j] · table[columns_j], (m,), summed in float32."""
    m, d = len(rows), table.shape[1]
    out = torch.empty(m, dtype=dtype, device=table.device)
    arguments = {
        "grad": grad.contiguous(),
        "rows": rows.contiguous(),
        "table": table.contiguous(),
        "columns": columns.contiguous(),
        "out": out,
        "m": m,
        "d": d,
    }
    constants = {"BLOCK_M": _BLOCK_K, "BLOCK_D": min(_BLOCK_D, triton.next_power_of_2(d))}
    launch(_entry_dots, (triton.cdiv(m, _BLOCK_K),), arguments, constants=constants)
    return out


@triton.jit
def _weighted_rows(
    indices,
    weights,
    table,
    bias,
    starts,
    out,
    k,
    d,
    HAS_BIAS: tl.constexpr,
    RAGGED: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = columns < d
    total = tl.zeros([BLOCK_D], tl.float32)
    first, count = row * k, k
    if RAGGED:
        first = tl.load(starts + row)
        count = (tl.load(starts + row + 1) - first).to(tl.int32)
    for start in range(0, count, BLOCK_K):
        slots = start + tl.arange(0, BLOCK_K)
        filled = slots < count
        latents = tl.load(indices + first + slots, mask=filled, other=0).to(tl.int64)
        factors = tl.load(weights + first + slots, mask=filled, other=0.0).to(tl.float32)
        places = table + latents[:, None] * d + columns[None, :]
        rows = tl.load(places, mask=filled[:, None] & inside[None, :], other=0.0).to(tl.float32)
        total += tl.sum(factors[:, None] * rows, axis=0)
    if HAS_BIAS:
        total += tl.load(bias + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * d + columns, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _row_dots(grad, table, indices, out, k, d, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    slots = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    filled = slots < k
    latents = tl.load(indices + row * k + slots, mask=filled, other=0).to(tl.int64)
    total = tl.zeros([BLOCK_K], tl.float32)
    for start in range(0, d, BLOCK_D):
        columns = start + tl.arange(0, BLOCK_D)
        inside = columns < d
        part = tl.load(grad + row * d + columns, mask=inside, other=0.0).to(tl.float32)
        places = table + latents[:, None] * d + columns[None, :]
        rows = tl.load(places, mask=filled[:, None] & inside[None, :], other=0.0).to(tl.float32)
        total += tl.sum(rows * part[None, :], axis=1)
    tl.store(out + row * k + slots, total.to(out.dtype.element_ty), mask=filled)


@triton.jit
def _entry_dots(
    grad, rows, table, columns, out, m, d, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr
):
    entries = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    present = entries < m
    tokens = tl.load(rows + entries, mask=present, other=0).to(tl.int64)
    latents = tl.load(columns + entries, mask=present, other=0).to(tl.int64)
    total = tl.zeros([BLOCK_M], tl.float32)
    for start in range(0, d, BLOCK_D):
        inner = start + tl.arange(0, BLOCK_D)
        inside = present[:, None] & (inner < d)[None, :]
        left = tl.load(grad + tokens[:, None] * d + inner[None, :], mask=inside, other=0.0)
        right = tl.load(table + latents[:, None] * d + inner[None, :], mask=inside, other=0.0)
        total += tl.sum(left.to(tl.float32) * right.to(tl.float32), axis=1)
    tl.store(out + entries, total.to(out.dtype.element_ty), mask=present)
