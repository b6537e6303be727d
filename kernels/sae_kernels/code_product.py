"""Products of the sparse matrix of a code with dense ones, on any device, with their gradients.

A code is the matrix C (n, f) with its values at the places that its entries name. Decoding is
C·D + b, the gradients of encoder and decoder are Cᵀ·X, and each is what the other's backward needs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.ragged import RaggedCode


class Code(Protocol):
    """The places of a code's entries and, for values there, what is made of them."""

    def times(
        self,
        values: torch.Tensor,
        table: torch.Tensor,
        bias: torch.Tensor | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """C·table + bias, (n, d)."""

    def transposed_times(
        self, values: torch.Tensor, source: torch.Tensor, *, n_latents: int, dtype: torch.dtype
    ) -> torch.Tensor:
        """Cᵀ·source, (f, d)."""

    def dots(self, left: torch.Tensor, right: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """left[token] · right[latent] of every entry, in shape and dtype of `like`."""

    def latent_sums(
        self,
        weights: torch.Tensor,
        source: torch.Tensor,
        *,
        values: torch.Tensor,
        n_latents: int,
        dtype: torch.dtype,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums by latent of weights · source[token], (f, d), and of the weights alone, (f,).

        `values` are the code's: where they are 0, so are the weights.
        """


def decoded(
    code: Code, values: torch.Tensor, dictionary: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """C·dictionary + bias, (n, d), differentiable in values, dictionary and bias."""
    dtype = torch.promote_types(torch.promote_types(values.dtype, dictionary.dtype), bias.dtype)
    back = partial(code.transposed_times, n_latents=len(dictionary), dtype=dictionary.dtype)
    times = partial(code.times, dtype=dtype)
    return _Product.apply(values, dictionary, bias, times, back, code.dots)


def summed_by_latent(
    code: Code, weights: torch.Tensor, source: torch.Tensor, *, n_latents: int
) -> torch.Tensor:
    """Cᵀ·source, (f, d), the weights being C's values; differentiable in weights and source."""
    dtype = torch.promote_types(weights.dtype, source.dtype)

    def times(weights: torch.Tensor, source: torch.Tensor, _: None) -> torch.Tensor:
        return code.transposed_times(weights, source, n_latents=n_latents, dtype=dtype)

    def back(weights: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
        return code.times(weights, grad, None, dtype=source.dtype)

    def dots(grad: torch.Tensor, source: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return code.dots(source, grad, like)

    return _Product.apply(weights, source, None, times, back, dots)


class _Product(torch.autograd.Function):
    """`times(values, table, bias)`; `back(values, grad)` is the product with the transpose."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        values: torch.Tensor,
        table: torch.Tensor,
        bias: torch.Tensor | None,
        times: Callable[..., torch.Tensor],
        back: Callable[..., torch.Tensor],
        dots: Callable[..., torch.Tensor],
    ) -> torch.Tensor:
        ctx.save_for_backward(values, table)
        ctx.back, ctx.dots = back, dots
        ctx.bias_dtype = None if bias is None else bias.dtype
        return times(values, table, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, table = ctx.saved_tensors
        to_values, to_table, to_bias = ctx.needs_input_grad[:3]
        d_bias = None
        if to_bias:
            widest = torch.promote_types(grad.dtype, torch.float32)
            d_bias = grad.sum(0, dtype=widest).to(ctx.bias_dtype)
        d_values = ctx.dots(grad, table, values) if to_values else None
        d_table = ctx.back(values, grad) if to_table else None
        return d_values, d_table, d_bias, None, None, None


class KeptOutputs(torch.autograd.Function):
    """Chosen outputs x·weightᵀ + bias of a linear layer, and a backward through those alone.

    `choose(x, weight, bias)` gives the code of their places and their values; so does this.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        choose: Callable[..., tuple[Any, torch.Tensor]],
    ) -> tuple[Any, torch.Tensor]:
        ctx.code, values = choose(x, weight, bias)
        ctx.save_for_backward(x, weight, values)
        ctx.bias_dtype = bias.dtype
        return ctx.code, values

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, _: None, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, values = ctx.saved_tensors
        # Padding is where ReLU is off.
        grad = grad.masked_fill(values <= 0, 0)
        to_x, to_weight, to_bias = ctx.needs_input_grad[:3]
        d_x = ctx.code.times(grad, weight, None, dtype=x.dtype) if to_x else None
        d_weight = d_bias = None
        if to_weight or to_bias:
            d_weight, d_bias = ctx.code.latent_sums(
                grad, x, values=values, n_latents=len(weight), dtype=weight.dtype
            )
            d_bias = d_bias.to(ctx.bias_dtype)
        return d_x, d_weight, d_bias, None


def ragged_outputs(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    choose: Callable[..., tuple[Any, torch.Tensor]],
) -> RaggedCode:
    """`KeptOutputs` where any number of outputs is kept of each row: their code."""
    code, values = KeptOutputs.apply(x, weight, bias, choose)
    return RaggedCode(code.rows, code.latents, values, len(x))
