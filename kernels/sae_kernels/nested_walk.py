"""The walk along the nested reconstructions of a code, forward and back, on the CPU.

Tokens may have different numbers of active latents. They are taken in blocks, those with most
first, so that the tokens that still have a j-th latent are the first rows of their block: the
walking errors, their suffix sums and one dictionary row per token stay in the caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

_BLOCK_ENTRIES = 2**16


class Ragged(NamedTuple):
    """Active latents in order of token: `counts` (n,), `columns` (m,), `values` (m,)."""

    counts: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor


class _Block(NamedTuple):
    """`tokens` (b,), their latents' places `entries` position by position, `sizes` of those."""

    tokens: torch.Tensor
    entries: torch.Tensor
    sizes: list[int]


class NestedLoss(torch.autograd.Function):
    """Σ_j w_nj ‖e_nj‖² (n,), from `weights` (m,) after each latent and `bias_weights` (n,)."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: torch.Tensor,
        counts: torch.Tensor,
        columns: torch.Tensor,
        values: torch.Tensor,
        dictionary: torch.Tensor,
        bias: torch.Tensor,
        weights: torch.Tensor,
        bias_weights: torch.Tensor,
    ) -> torch.Tensor:
        code = Ragged(counts, columns, values)
        first, squares, last = nested_squares(x, code, dictionary, bias)
        ctx.save_for_backward(last, counts, columns, values, dictionary, weights, bias_weights)
        tokens = torch.arange(len(x)).repeat_interleave(counts)
        return (bias_weights * first).index_add_(0, tokens, weights * squares)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        last, counts, columns, values, dictionary, weights, bias_weights = ctx.saved_tensors
        tokens = torch.arange(len(last)).repeat_interleave(counts)
        weights, bias_weights = 2 * grad[tokens] * weights, 2 * grad * bias_weights
        d_values = torch.empty_like(values) if ctx.needs_input_grad[3] else None
        d_dictionary = torch.zeros_like(dictionary) if ctx.needs_input_grad[4] else None
        d_x = torch.empty_like(last)
        for block in _blocks(counts, last.shape[1]):
            suffix = torch.zeros(len(block.tokens), last.shape[1], dtype=last.dtype)
            error = last[block.tokens]
            picked = (columns[block.entries], values[block.entries], weights[block.entries])
            d_picked = torch.empty_like(picked[1])
            _walk_back(error, suffix, dictionary, picked, block.sizes, d_picked, d_dictionary)
            if d_values is not None:
                d_values[block.entries] = d_picked
            d_x[block.tokens] = suffix.addcmul_(error, bias_weights[block.tokens].unsqueeze(1))
        d_bias = d_x.sum(0).neg_() if ctx.needs_input_grad[5] else None
        d_x = d_x if ctx.needs_input_grad[0] else None
        return d_x, None, None, d_values, d_dictionary, d_bias, None, None


def nested_squares(
    x: torch.Tensor, code: Ragged, dictionary: torch.Tensor, bias: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """‖e_n0‖² (n,), ‖e‖² after each latent (m,), and each token's last error (n, d)."""
    first, squares = x.new_empty(len(x)), torch.empty_like(code.values)
    last = torch.empty(x.shape, dtype=x.dtype)
    for tokens, entries, sizes in _blocks(code.counts, x.shape[1]):
        error = x[tokens] - bias
        first[tokens] = torch.linalg.vecdot(error, error)
        found = torch.empty(len(entries), dtype=x.dtype)
        directions = torch.empty_like(error)
        parts = (code.columns[entries], code.values[entries], found)
        for columns, values, out in zip(*(part.split(sizes) for part in parts), strict=True):
            rows, picked = error[: len(columns)], directions[: len(columns)]
            torch.index_select(dictionary, 0, columns, out=picked)
            rows.addcmul_(picked, values.unsqueeze(1), value=-1)
            torch.linalg.vecdot(rows, rows, out=out)
        squares[entries] = found
        last[tokens] = error
    return first, squares, last


def _walk_back(
    error: torch.Tensor,
    suffix: torch.Tensor,
    dictionary: torch.Tensor,
    picked: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    sizes: list[int],
    d_values: torch.Tensor,
    d_dictionary: torch.Tensor | None,
) -> None:
    """Turns last errors (b, d) into first ones, and `suffix` from 0 into Σ_{l ≥ 1} w_l e_l.

    `picked` are columns, values and weights, position by position. Writes `d_values` and adds to
    `d_dictionary` on the way.
    """
    directions, pulled = torch.empty_like(error), torch.empty_like(error)
    steps = list(zip(*(part.split(sizes) for part in (*picked, d_values)), strict=True))
    for columns, values, weights, d_out in reversed(steps):
        b = len(columns)
        rows, sums, chosen = error[:b], suffix[:b], directions[:b]
        sums.addcmul_(rows, weights.unsqueeze(1))
        torch.index_select(dictionary, 0, columns, out=chosen)
        torch.linalg.vecdot(sums, chosen, out=d_out)
        if d_dictionary is not None:
            torch.mul(sums, -values.unsqueeze(1), out=pulled[:b])
            d_dictionary.index_add_(0, columns, pulled[:b])
        rows.addcmul_(chosen, values.unsqueeze(1))
    d_values.neg_()


def _blocks(counts: torch.Tensor, width: int) -> Iterator[_Block]:
    order = counts.argsort(descending=True, stable=True)
    starts = counts.cumsum(0) - counts
    for tokens in order.split(max(1, _BLOCK_ENTRIES // max(1, width))):
        if not len(tokens):
            return
        positions = torch.arange(int(counts[tokens[0]])).unsqueeze(1)
        there = positions < counts[tokens]
        entries = (positions + starts[tokens])[there]
        yield _Block(tokens, entries, [int(size) for size in there.sum(1)])
