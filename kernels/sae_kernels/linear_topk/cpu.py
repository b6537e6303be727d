"""Linear + top-k on the CPU: one product, blockwise selection, a backward over k latents only."""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.largest import largest
from sae_kernels.linear_product import product_blocks
from sae_kernels.row_sums import bag_sums, transposed_sums


def linear_topk(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and values (n, k) of the k largest of x·weightᵀ + bias, after ReLU."""
    return _LinearTopk.apply(x, weight, bias, k)


class _LinearTopk(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n = x.shape[0]
        indices = torch.empty(n, k, dtype=torch.int64)
        values = x.new_empty(n, k)
        for block, z in product_blocks(x, weight, bias):
            indices[block], values[block] = largest(z, k)
        ctx.save_for_backward(x, weight, indices, values)
        ctx.mark_non_differentiable(indices)
        return indices, values

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, _: torch.Tensor, grad: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        x, weight, indices, values = ctx.saved_tensors
        n, k = indices.shape
        grad = grad.masked_fill(values <= 0, 0).view(-1)
        columns = indices.view(-1)
        d_x = d_weight = d_bias = None
        if ctx.needs_input_grad[0]:
            d_x = bag_sums(weight, columns, grad, starts=torch.arange(0, n * k, k))
        if ctx.needs_input_grad[1]:
            rows = torch.arange(n).repeat_interleave(k)
            d_weight = transposed_sums(x, rows, columns, grad, n_columns=weight.shape[0])
        if ctx.needs_input_grad[2]:
            d_bias = grad.new_zeros(weight.shape[0]).index_add_(0, columns, grad)
        return d_x, d_weight, d_bias, None
