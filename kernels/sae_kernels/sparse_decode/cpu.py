"""Sparse decode on the CPU: O(n k d) forward and backward, nothing of size n × k × d is held."""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.row_sums import bag_sums, row_dots, transposed_sums


def sparse_decode(
    indices: torch.Tensor, values: torch.Tensor, dictionary: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """bias + Σ_j values_nj · dictionary[indices_nj], (n, d)."""
    return _SparseDecode.apply(indices, values, dictionary, bias)


class _SparseDecode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        indices: torch.Tensor,
        values: torch.Tensor,
        dictionary: torch.Tensor,
        bias: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(indices, values, dictionary)
        n, k = indices.shape
        starts = torch.arange(0, n * k, k) if n * k else torch.zeros(n, dtype=torch.int64)
        columns, weights = indices.reshape(-1), values.reshape(-1)
        return bag_sums(dictionary, columns, weights, starts=starts).add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        indices, values, dictionary = ctx.saved_tensors
        n, k = indices.shape
        rows, columns = torch.arange(n).repeat_interleave(k), indices.reshape(-1)
        d_values = d_dictionary = None
        if ctx.needs_input_grad[1]:
            d_values = row_dots(grad, dictionary, rows, columns).view(n, k)
        if ctx.needs_input_grad[2]:
            weights = values.reshape(-1)
            d_dictionary = transposed_sums(
                grad, rows, columns, weights, n_columns=dictionary.shape[0]
            )
        return None, d_values, d_dictionary, grad.sum(0) if ctx.needs_input_grad[3] else None
