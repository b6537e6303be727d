"""Chosen outputs of a linear layer over a batch, and a backward through those alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.autograd.function import FunctionCtx, once_differentiable


class Entries(NamedTuple):
    """Outputs that were chosen, each (m,): `rows` ascending, `columns`, `values`."""

    rows: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor


Choice = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Entries]


class KeptOutputs(torch.autograd.Function):
    """Rows, columns and values of the outputs x·weightᵀ + bias that `choose(x, weight, bias)`
    gives; `gradients` takes those of the values to x, weight and bias."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        choose: Choice,
        gradients: Callable[..., tuple[torch.Tensor | None, ...]],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        kept = choose(x, weight, bias)
        ctx.save_for_backward(x, weight, kept.rows, kept.columns)
        ctx.gradients, ctx.bias_dtype = gradients, bias.dtype
        ctx.mark_non_differentiable(kept.rows, kept.columns)
        return kept.rows, kept.columns, kept.values

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, _rows: torch.Tensor, _columns: torch.Tensor, grad: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        found = ctx.gradients(
            grad, *ctx.saved_tensors, wanted=ctx.needs_input_grad[:3], bias_dtype=ctx.bias_dtype
        )
        return (*found, None, None)
