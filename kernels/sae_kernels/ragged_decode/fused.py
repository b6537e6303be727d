"""Ragged decode on the GPU: forward and backward read only the dictionary rows that are active."""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.gathers_fused import entry_dots, weighted_rows
from sae_kernels.latent_order import latent_order
from sae_kernels.ragged import RaggedCode
from sae_kernels.sparse_outer.fused import segment_sums


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
        ctx.bias_dtype = bias.dtype
        starts = torch.searchsorted(rows, torch.arange(n_rows + 1, device=rows.device))
        dtype = torch.promote_types(torch.promote_types(values.dtype, dictionary.dtype), bias.dtype)
        return weighted_rows(columns, values, dictionary, bias, dtype=dtype, starts=starts)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, columns, values, dictionary = ctx.saved_tensors
        d_values = d_dictionary = d_bias = None
        if ctx.needs_input_grad[2]:
            d_values = entry_dots(grad, rows, dictionary, columns, dtype=values.dtype)
        if ctx.needs_input_grad[4]:
            code = latent_order(columns, values, n_latents=dictionary.shape[0])
            d_dictionary = segment_sums(code, values, grad, dtype=dictionary.dtype, tokens=rows)[0]
        if ctx.needs_input_grad[5]:
            d_bias = grad.sum(0, dtype=torch.float32).to(ctx.bias_dtype)
        return None, None, d_values, None, d_dictionary, d_bias
