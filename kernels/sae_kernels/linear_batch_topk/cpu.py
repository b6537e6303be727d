"""Linear + batch top-k on the CPU: exact selection without a sort, a backward over kept entries."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from sae_kernels.code_cpu import CpuCode, uneven_code
from sae_kernels.code_product import ragged_outputs
from sae_kernels.code_sort import CodeSort
from sae_kernels.linear_product import linear_product
from sae_kernels.ragged import RaggedCode, padded_to

_SAMPLE_ENTRIES = 2**17


def linear_batch_topk(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    count: int,
    *,
    sort: CodeSort | None,
) -> RaggedCode:
    """The `count` largest entries > 0 of x·weightᵀ + bias over the whole batch."""
    return ragged_outputs(x, weight, bias, partial(_kept, count=count, sort=sort))


def _kept(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, count: int, sort: CodeSort | None
) -> tuple[CpuCode, torch.Tensor]:
    flat = linear_product(x, weight, bias).view(-1)
    kept = largest_positive(flat, count)
    rows = kept.div(len(weight), rounding_mode="floor")
    found = RaggedCode(rows, kept - rows * len(weight), flat[kept], len(x))
    found = padded_to(min(count, len(flat)), found)
    return uneven_code(found.rows, found.columns, len(x), sort), found.values


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
