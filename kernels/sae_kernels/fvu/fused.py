"""Squared error and variance on the GPU from one read; sums in a fixed order, in float32.

The variance comes from sums of x − c and of its square, c the first token: without the shift a
mean far from 0 would drown it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.launch import launch

_BLOCK_N, _BLOCK_D, _ROWS_PER_PROGRAM = 8, 256, 64


def fvu(x: torch.Tensor, x_hat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ‖x − x̂‖² and Σ‖x − x̄‖², 0-d."""
    return _Fvu.apply(x, x_hat)


class _Fvu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, x: torch.Tensor, x_hat: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x, x_hat = x.contiguous(), x_hat.contiguous()
        n, d = x.shape
        n_parts = triton.cdiv(n, _ROWS_PER_PROGRAM)
        parts = torch.empty(3, n_parts, d, dtype=torch.float32, device=x.device)
        arguments = {"x": x, "x_hat": x_hat, "parts": parts, "n": n, "d": d, "n_parts": n_parts}
        constants = {"ROWS": _ROWS_PER_PROGRAM, "BLOCK_N": _BLOCK_N, "BLOCK_D": _BLOCK_D}
        launch(_sums, (n_parts, triton.cdiv(d, _BLOCK_D)), arguments, constants=constants)
        errors, shifted, squares = parts.sum(1)
        variance = (squares - shifted.square() / n).clamp(min=0).sum()
        ctx.save_for_backward(x, x_hat, x[0].float() + shifted / n)
        dtype = torch.promote_types(x.dtype, x_hat.dtype)
        return errors.sum().to(dtype), variance.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, d_error: torch.Tensor, d_variance: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x, x_hat, mean = ctx.saved_tensors
        n, d = x.shape
        d_x, d_x_hat = torch.empty_like(x), torch.empty_like(x_hat)
        arguments = {
            "x": x,
            "x_hat": x_hat,
            "mean": mean,
            "d_error": d_error,
            "d_variance": d_variance,
            "d_x": d_x,
            "d_x_hat": d_x_hat,
            "n": n,
            "d": d,
        }
        constants = {"BLOCK_N": _BLOCK_N, "BLOCK_D": _BLOCK_D}
        grid = (triton.cdiv(n, _BLOCK_N), triton.cdiv(d, _BLOCK_D))
        launch(_gradients, grid, arguments, constants=constants)
        return d_x, d_x_hat


@triton.jit
def _sums(
    x,
    x_hat,
    parts,
    n,
    d,
    n_parts,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    part = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = columns < d
    shift = tl.load(x + columns, mask=inside, other=0.0).to(tl.float32)[None, :]
    errors = tl.zeros([BLOCK_D], tl.float32)
    shifted = tl.zeros([BLOCK_D], tl.float32)
    squares = tl.zeros([BLOCK_D], tl.float32)
    for start in range(0, ROWS, BLOCK_N):
        rows = (part * ROWS + start + tl.arange(0, BLOCK_N))[:, None]
        present = (rows < n) & inside[None, :]
        places = rows * d + columns[None, :]
        value = tl.load(x + places, mask=present, other=0.0).to(tl.float32)
        guess = tl.load(x_hat + places, mask=present, other=0.0).to(tl.float32)
        errors += tl.sum((value - guess) * (value - guess), axis=0)
        away = tl.where(present, value - shift, 0.0)
        shifted += tl.sum(away, axis=0)
        squares += tl.sum(away * away, axis=0)
    at = parts + part * d + columns
    tl.store(at, errors, mask=inside)
    tl.store(at + n_parts.to(tl.int64) * d, shifted, mask=inside)
    tl.store(at + n_parts.to(tl.int64) * 2 * d, squares, mask=inside)


@triton.jit
def _gradients(
    x,
    x_hat,
    mean,
    d_error,
    d_variance,
    d_x,
    d_x_hat,
    n,
    d,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows = (tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N))[:, None]
    columns = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    present = (rows < n) & (columns < d)[None, :]
    places = rows * d + columns[None, :]
    value = tl.load(x + places, mask=present, other=0.0).to(tl.float32)
    guess = tl.load(x_hat + places, mask=present, other=0.0).to(tl.float32)
    middle = tl.load(mean + columns, mask=columns < d, other=0.0)[None, :]
    from_error = 2.0 * tl.load(d_error).to(tl.float32) * (value - guess)
    from_variance = 2.0 * tl.load(d_variance).to(tl.float32) * (value - middle)
    tl.store(d_x + places, (from_error + from_variance).to(d_x.dtype.element_ty), mask=present)
    tl.store(d_x_hat + places, (-from_error).to(d_x_hat.dtype.element_ty), mask=present)
