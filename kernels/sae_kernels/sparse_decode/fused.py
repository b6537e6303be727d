"""Sparse decode on the GPU: forward and backward read only the dictionary rows that are active."""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.gathers_fused import row_dots, weighted_rows
from sae_kernels.latent_order import latent_order
from sae_kernels.sparse_outer.fused import segment_sums


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
        ctx.bias_dtype = bias.dtype
        dtype = torch.promote_types(torch.promote_types(values.dtype, dictionary.dtype), bias.dtype)
        return weighted_rows(indices, values, dictionary, bias, dtype=dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        indices, values, dictionary = ctx.saved_tensors
        d_values = d_dictionary = d_bias = None
        if ctx.needs_input_grad[1]:
            d_values = row_dots(grad, dictionary, indices, dtype=values.dtype)
        if ctx.needs_input_grad[2]:
            code = latent_order(indices, values, n_latents=dictionary.shape[0])
            d_dictionary = segment_sums(code, values, grad, dtype=dictionary.dtype)[0]
        if ctx.needs_input_grad[3]:
            d_bias = grad.sum(0, dtype=torch.float32).to(ctx.bias_dtype)
        return None, d_values, d_dictionary, d_bias
