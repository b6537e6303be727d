"""A value with a gradient that is computed by hand."""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable


def with_gradient(
    value: torch.Tensor, parameter: torch.Tensor, gradient: torch.Tensor
) -> torch.Tensor:
    """`value` (0-d) itself; its derivative by `parameter` has `gradient` (same shape) added."""
    return _WithGradient.apply(value, parameter, gradient)


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, value: torch.Tensor, parameter: torch.Tensor, gradient: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(gradient)
        return value.view_as(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return grad, grad * gradient, None
