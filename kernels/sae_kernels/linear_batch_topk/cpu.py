"""Linear + batch top-k on the CPU: exact selection without a sort, a backward over kept entries."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from sae_kernels.kept_outputs import Entries, KeptOutputs
from sae_kernels.linear_product import linear_product
from sae_kernels.ragged import RaggedCode
from sae_kernels.row_sums import bag_sums, transposed_sums

_SAMPLE_ENTRIES = 2**17


def linear_batch_topk(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, count: int
) -> RaggedCode:
    """The `count` largest entries > 0 of x·weightᵀ + bias over the whole batch."""
    choose = partial(_largest, count=count)
    return RaggedCode(*KeptOutputs.apply(x, weight, bias, choose, gradients), len(x))


def _largest(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, count: int) -> Entries:
    flat = linear_product(x, weight, bias).view(-1)
    kept = largest_positive(flat, count)
    rows = kept.div(weight.shape[0], rounding_mode="floor")
    return Entries(rows, kept - rows * weight.shape[0], flat[kept])


def gradients(
    grad: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    rows: torch.Tensor,
    columns: torch.Tensor,
    *,
    wanted: tuple[bool, ...],
    bias_dtype: torch.dtype,
) -> tuple[torch.Tensor | None, ...]:
    """Gradients to x, weight and bias, where `wanted`, from those of the kept entries (m,)."""
    d_x = d_weight = d_bias = None
    if wanted[0]:
        starts = torch.searchsorted(rows, torch.arange(x.shape[0]))
        d_x = bag_sums(weight, columns, grad, starts=starts)
    if wanted[1]:
        d_weight = transposed_sums(x, rows, columns, grad, n_columns=weight.shape[0])
    if wanted[2]:
        d_bias = grad.new_zeros(weight.shape[0]).index_add_(0, columns, grad).to(bias_dtype)
    return d_x, d_weight, d_bias


def largest_positive(flat: torch.Tensor, count: int) -> torch.Tensor:
    """Positions, ascending, of the `count` largest entries > 0 of `flat`; of equals the first.

    A sample gives a value that few entries but at least `count` should exceed, and only those are
    partitioned. The sample decides how much work is done, never the answer: when too few exceed
    its value, all positive entries are taken instead.
    """
    candidates = _above(flat, _sampled_floor(flat, count))
    if candidates.numel() < count:
        candidates = _above(flat, 0.0)
    if candidates.numel() <= count:
        return candidates
    values = flat[candidates].nan_to_num_(nan=torch.inf, posinf=torch.inf)
    last = _ranked(values, count)
    above = values > last
    equal = values == last
    needed = count - above.sum()
    return candidates[above | (equal & (equal.cumsum(0) <= needed))]


def _above(flat: torch.Tensor, floor: float) -> torch.Tensor:
    """Positions whose value is not <= floor: NaN is kept, so that it shows."""
    return (~(flat <= floor)).nonzero().view(-1)


def _sampled_floor(flat: torch.Tensor, count: int) -> float:
    """A value >= 0 that, judged by every s-th entry, 1.25 · count entries exceed."""
    stride = max(1, flat.numel() // _SAMPLE_ENTRIES) | 1
    sample = flat[::stride]
    rank = int(1.25 * count / stride) + 16
    if rank >= sample.numel():
        return 0.0
    floor = _ranked(sample, rank)
    return floor if floor > 0 else 0.0


def _ranked(values: torch.Tensor, rank: int) -> float:
    """The value that is number `rank` from the largest; NaN counts as the largest."""
    place = values.numel() - rank
    return float(np.partition(np.asarray(values), place)[place])
