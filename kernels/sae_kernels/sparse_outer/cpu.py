"""Sums of weighted rows by latent on the CPU: O(n k d), the same bits for any number of threads."""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.row_sums import bag_sums, row_dots, transposed_sums


def sparse_outer(
    indices: torch.Tensor, weights: torch.Tensor, source: torch.Tensor, *, n_latents: int
) -> torch.Tensor:
    """Row i is Σ weights_tj · source_t over the entries with indices_tj = i, (f, d)."""
    return _SparseOuter.apply(indices, weights, source, n_latents)


class _SparseOuter(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        indices: torch.Tensor,
        weights: torch.Tensor,
        source: torch.Tensor,
        n_latents: int,
    ) -> torch.Tensor:
        ctx.save_for_backward(indices, weights, source)
        n, k = indices.shape
        rows = torch.arange(n).repeat_interleave(k)
        columns, factors = indices.reshape(-1), weights.reshape(-1)
        return transposed_sums(source, rows, columns, factors, n_columns=n_latents)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        indices, weights, source = ctx.saved_tensors
        n, k = indices.shape
        columns = indices.reshape(-1)
        d_weights = d_source = None
        if ctx.needs_input_grad[1]:
            rows = torch.arange(n).repeat_interleave(k)
            d_weights = row_dots(source, grad, rows, columns).view(n, k)
        if ctx.needs_input_grad[2]:
            starts = torch.arange(0, n * k, k)
            d_source = bag_sums(grad, columns, weights.reshape(-1), starts=starts)
        return None, d_weights, d_source, None
