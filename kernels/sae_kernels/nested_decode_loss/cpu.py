"""Nested decoding on the CPU: one walk over the latents forward and one back, O(n k d).

Kept between the two: the last error of each token, (n, d). Tokens are taken in blocks, so that the
walking error, its suffix sum and one row per token stay in the caches.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

_BLOCK_ENTRIES = 2**16


def nested_decode_loss(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """Σ_j weights_nj · ‖e_nj‖², (n,)."""
    return _NestedDecodeLoss.apply(x, indices, values, dictionary, bias, weights)


def nested_errors(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """‖e_nj‖², (n, k + 1)."""
    return _walk(x, indices, values, dictionary, bias)[0]


class _NestedDecodeLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: torch.Tensor,
        indices: torch.Tensor,
        values: torch.Tensor,
        dictionary: torch.Tensor,
        bias: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        squares, last = _walk(x, indices, values, dictionary, bias)
        ctx.save_for_backward(last, indices, values, dictionary, weights)
        return (weights * squares).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        last, indices, values, dictionary, weights = ctx.saved_tensors
        scaled = 2 * grad.unsqueeze(1) * weights
        d_values = torch.empty_like(values) if ctx.needs_input_grad[2] else None
        d_dictionary = torch.zeros_like(dictionary) if ctx.needs_input_grad[3] else None
        d_x = torch.empty_like(last)
        for rows in _blocks(last):
            d_x[rows] = _walk_back(
                last[rows].clone(),
                indices[rows].t().contiguous(),
                values[rows].t().contiguous(),
                dictionary,
                scaled[rows].t().contiguous(),
                d_values=None if d_values is None else d_values[rows],
                d_dictionary=d_dictionary,
            )
        d_bias = d_x.sum(0).neg_() if ctx.needs_input_grad[4] else None
        return d_x if ctx.needs_input_grad[0] else None, None, d_values, d_dictionary, d_bias, None


def _walk(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """‖e_nj‖² (n, k + 1) and e_nk (n, d)."""
    n, k = indices.shape
    squares = values.new_empty(k + 1, n)
    last = x - bias
    for rows in _blocks(last):
        error = last[rows]
        columns, steps = indices[rows].t().contiguous(), values[rows].t().contiguous()
        directions = torch.empty_like(error)
        torch.linalg.vecdot(error, error, out=squares[0, rows])
        for j in range(k):
            torch.index_select(dictionary, 0, columns[j], out=directions)
            error.addcmul_(directions, steps[j].unsqueeze(1), value=-1)
            torch.linalg.vecdot(error, error, out=squares[j + 1, rows])
    return squares.t(), last


def _walk_back(
    error: torch.Tensor,
    columns: torch.Tensor,
    steps: torch.Tensor,
    dictionary: torch.Tensor,
    weights: torch.Tensor,
    *,
    d_values: torch.Tensor | None,
    d_dictionary: torch.Tensor | None,
) -> torch.Tensor:
    """From e_k back to e_0: writes `d_values`, adds to `d_dictionary`, gives Σ_l weights_l e_l.

    `error` (b, d) is changed; `columns`, `steps` (k, b), `weights` (k + 1, b), contiguous.
    """
    suffix = error * weights[-1].unsqueeze(1)
    directions, pulled = torch.empty_like(error), torch.empty_like(error)
    for j in reversed(range(len(columns))):
        torch.index_select(dictionary, 0, columns[j], out=directions)
        step = steps[j].unsqueeze(1)
        if d_values is not None:
            d_values[:, j] = torch.linalg.vecdot(suffix, directions).neg_()
        if d_dictionary is not None:
            torch.mul(suffix, -step, out=pulled)
            d_dictionary.index_add_(0, columns[j], pulled)
        error.addcmul_(directions, step)
        suffix.addcmul_(error, weights[j].unsqueeze(1))
    return suffix


def _blocks(rows: torch.Tensor) -> Iterator[slice]:
    size = max(1, _BLOCK_ENTRIES // max(1, rows.shape[1]))
    for start in range(0, len(rows), size):
        yield slice(start, start + size)
