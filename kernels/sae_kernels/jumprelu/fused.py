"""JumpReLU on the GPU: z is read once forward and once back, thresholds are summed in order."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.launch import launch

_BLOCK_N, _BLOCK_F = 8, 256
_ROWS_PER_PROGRAM = 128


def jumprelu(
    z: torch.Tensor, threshold: torch.Tensor, *, bandwidth: float, to_z: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """z · H(z − θ) (n, f) and Σ_n H(z_n − θ) (f,)."""
    return _JumpRelu.apply(z, threshold, bandwidth, to_z)


class _JumpRelu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, z: torch.Tensor, threshold: torch.Tensor, bandwidth: float, to_z: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        z = z.contiguous()
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth, ctx.to_z = bandwidth, to_z
        ctx.set_materialize_grads(False)
        n, f = z.shape
        n_parts = triton.cdiv(n, _ROWS_PER_PROGRAM)
        values = torch.empty_like(z)
        parts = torch.empty(n_parts, f, dtype=torch.float32, device=z.device)
        arguments = {
            "z": z,
            "threshold": threshold.contiguous(),
            "values": values,
            "parts": parts,
            "n": n,
            "f": f,
        }
        constants = {"ROWS": _ROWS_PER_PROGRAM, "BLOCK_N": _BLOCK_N, "BLOCK_F": _BLOCK_F}
        launch(_forward, (n_parts, triton.cdiv(f, _BLOCK_F)), arguments, constants=constants)
        return values, parts.sum(0)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, d_values: torch.Tensor | None, d_counts: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, ...]:
        if d_values is None and d_counts is None:
            return None, None, None, None
        z, threshold = ctx.saved_tensors
        n, f = z.shape
        n_parts = triton.cdiv(n, _ROWS_PER_PROGRAM)
        d_z = torch.empty_like(z)
        parts = torch.empty(n_parts, f, dtype=torch.float32, device=z.device)
        arguments = {
            "z": z,
            "threshold": threshold.contiguous(),
            "d_values": None if d_values is None else d_values.contiguous(),
            "d_counts": None if d_counts is None else d_counts.contiguous(),
            "d_z": d_z,
            "parts": parts,
            "n": n,
            "f": f,
            "bandwidth": float(ctx.bandwidth),
        }
        constants = {
            "HAS_VALUES": d_values is not None,
            "HAS_COUNTS": d_counts is not None,
            "TO_Z": ctx.to_z,
            "ROWS": _ROWS_PER_PROGRAM,
            "BLOCK_N": _BLOCK_N,
            "BLOCK_F": _BLOCK_F,
        }
        launch(_backward, (n_parts, triton.cdiv(f, _BLOCK_F)), arguments, constants=constants)
        return d_z, parts.sum(0).to(threshold.dtype), None, None


@triton.jit
def _forward(
    z,
    threshold,
    values,
    parts,
    n,
    f,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_F: tl.constexpr,
):
    part = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_F + tl.arange(0, BLOCK_F)
    theta = tl.load(threshold + columns, mask=columns < f, other=0.0).to(tl.float32)[None, :]
    total = tl.zeros([BLOCK_F], tl.float32)
    for start in range(0, ROWS, BLOCK_N):
        rows = (part * ROWS + start + tl.arange(0, BLOCK_N))[:, None]
        inside = (rows < n) & (columns < f)[None, :]
        places = rows * f + columns[None, :]
        value = tl.load(z + places, mask=inside, other=0.0).to(tl.float32)
        above = inside & (value > theta)
        kept = tl.where(above, value, value * 0.0)
        tl.store(values + places, kept.to(values.dtype.element_ty), mask=inside)
        total += tl.sum(tl.where(above, 1.0, 0.0), axis=0)
    tl.store(parts + part * f + columns, total, mask=columns < f)


@triton.jit
def _backward(
    z,
    threshold,
    d_values,
    d_counts,
    d_z,
    parts,
    n,
    f,
    bandwidth,
    HAS_VALUES: tl.constexpr,
    HAS_COUNTS: tl.constexpr,
    TO_Z: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_F: tl.constexpr,
):
    part = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_F + tl.arange(0, BLOCK_F)
    theta = tl.load(threshold + columns, mask=columns < f, other=0.0).to(tl.float32)[None, :]
    total = tl.zeros([BLOCK_F], tl.float32)
    per_token = tl.zeros([1, BLOCK_F], tl.float32)
    if HAS_COUNTS:
        per_token += tl.load(d_counts + columns, mask=columns < f, other=0.0)[None, :]
    for start in range(0, ROWS, BLOCK_N):
        rows = (part * ROWS + start + tl.arange(0, BLOCK_N))[:, None]
        inside = (rows < n) & (columns < f)[None, :]
        places = rows * f + columns[None, :]
        value = tl.load(z + places, mask=inside, other=0.0).to(tl.float32)
        from_z = tl.zeros([BLOCK_N, BLOCK_F], tl.float32)
        from_step = tl.zeros([BLOCK_N, BLOCK_F], tl.float32) + per_token
        if HAS_VALUES:
            g = tl.load(d_values + places, mask=inside, other=0.0).to(tl.float32)
            from_z += tl.where(value > theta, g, 0.0)
            from_step += theta * g
        near = inside & (tl.abs(value - theta) < bandwidth / 2)
        from_step = tl.where(near, from_step / bandwidth, 0.0)
        if TO_Z:
            from_z += from_step
        tl.store(d_z + places, from_z.to(d_z.dtype.element_ty), mask=inside)
        total -= tl.sum(from_step, axis=0)
    tl.store(parts + part * f + columns, total, mask=columns < f)
