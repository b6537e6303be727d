"""Linear + top-k on the CPU: one product, blockwise selection, a backward over k latents only."""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.row_sums import bag_sums, transposed_sums

# z is made block by block in one buffer: 8 MB stay near the caches, and the allocator keeps them
# instead of returning the pages to the system after every call.
_BLOCK_ENTRIES = 2**21
_MIN_BLOCK_ROWS = 128


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
        n, f = x.shape[0], weight.shape[0]
        indices = torch.empty(n, k, dtype=torch.int64)
        values = x.new_empty(n, k)
        block = max(_MIN_BLOCK_ROWS, _BLOCK_ENTRIES // f)
        buffer = x.new_empty(min(block, n), f)
        for start in range(0, n, block):
            part = x[start : start + block]
            z = torch.addmm(bias, part, weight.t(), out=buffer[: part.shape[0]])
            stop = start + part.shape[0]
            indices[start:stop], values[start:stop] = largest(z, k)
        values.relu_()
        indices.masked_fill_(values == 0, 0)
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


def largest(z: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and values (n, k) of the k largest of each row of z, lower index first among equals.

    torch.topk leaves the order of equal values open. Rows where two of the k + 1 largest are equal
    and could be kept are the only ones that its freedom can reach: those alone are sorted.
    """
    wanted = min(k + 1, z.shape[1])
    values, indices = _topk(z, wanted)
    tied = ((values[:, 1:] == values[:, :-1]) & (values[:, 1:] > 0)).any(1)
    tied |= values[:, 0].isnan()
    rows = tied.nonzero().view(-1)
    if rows.numel():
        ordered = z[rows].sort(dim=1, descending=True, stable=True)
        values[rows] = ordered.values[:, :wanted]
        indices[rows] = ordered.indices[:, :wanted]
    return indices[:, :k], values[:, :k]


def _topk(z: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """torch.topk, (values, indices), in two exact stages where its own selection is slow.

    It partially sorts when 64 k <= f and otherwise partitions whole rows, about twice as slow:
    there, first take the k groups of 8 strided entries with the largest maxima; the k largest
    values lie in them.
    """
    n, f = z.shape
    n_groups = f // 8
    if 64 * k <= f or f % 8 or 4 * k > n_groups:
        return z.topk(k, dim=1)
    maxima = z.view(n, 8, n_groups).amax(1)
    groups = maxima.topk(k, dim=1, sorted=False).indices
    members = torch.arange(0, f, n_groups).view(1, 8, 1)
    candidates = (groups.unsqueeze(1) + members).view(n, 8 * k)
    values, positions = z.gather(1, candidates).topk(k, dim=1)
    return values, candidates.gather(1, positions)
