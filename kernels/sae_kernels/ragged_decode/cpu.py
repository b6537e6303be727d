"""Ragged decode on the CPU: O(m d) forward and backward, nothing of size m × d is held."""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.ragged import RaggedCode
from sae_kernels.row_sums import bag_sums, row_dots, transposed_sums


def ragged_decode(code: RaggedCode, dictionary: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """bias + Σ_{j: rows_j = n} values_j · dictionary[columns_j], (n, d)."""
    return _RaggedDecode.apply(code.rows, code.columns, code.values, code.n_rows, dictionary, bias)


class _RaggedDecode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        rows: torch.Tensor,
        columns: torch.Tensor,
        values: torch.Tensor,
        n_rows: int,
        dictionary: torch.Tensor,
        bias: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(rows, columns, values, dictionary)
        starts = torch.searchsorted(rows, torch.arange(n_rows))
        return bag_sums(dictionary, columns, values, starts=starts).add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, columns, values, dictionary = ctx.saved_tensors
        d_values = d_dictionary = d_bias = None
        if ctx.needs_input_grad[2]:
            d_values = row_dots(grad, dictionary, rows, columns)
        if ctx.needs_input_grad[4]:
            d_dictionary = transposed_sums(
                grad, rows, columns, values, n_columns=dictionary.shape[0]
            )
        if ctx.needs_input_grad[5]:
            d_bias = grad.sum(0)
        return None, None, d_values, None, d_dictionary, d_bias
