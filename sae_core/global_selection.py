"""The largest values of a batch whose values lie with several ranks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from sae_kernels import CodeSort, RaggedCode, linear_batch_topk

from sae_core.ranks import Ranks, one_after_another, summed

_DIGIT = 8  # bits
_SLACK = 2.0  # how many times its equal share a rank's candidates are at first


class Place(NamedTuple):
    """Where a rank's product (n, f) stands in the whole one: its first row, first column, width."""

    row: int
    column: int
    width: int


def globally_largest(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    count: int,
    *,
    place: Place,
    ranks: Ranks,
    sort: CodeSort | None = None,
) -> RaggedCode:
    """This rank's part of the `count` largest entries > 0 of all ranks' x·weightᵀ + bias.

    As `linear_batch_topk` on the whole: of equal values the earlier token, then the lower latent is
    kept. Columns are this rank's. A rank first offers twice its equal share of candidates; only
    where one of those that it left out could be among the largest do all offer `count`. On the wire
    are counts of digits, whatever n and f. Where there are several ranks the host waits for the
    device; where there is one, `sort` is shared with what decodes the code.
    """
    if ranks.size == 1:
        return linear_batch_topk(x, weight, bias, count, sort=sort)
    offered = min(count, int(_SLACK * count / ranks.size) + 1)
    code, bits, limit, needed = _offered(x, weight, bias, offered, count, ranks)
    full = len(bits) == offered < count
    hidden = torch.stack([bits.amin() >= limit]) if full else limit.new_zeros(1, dtype=torch.bool)
    if summed(hidden.to(torch.int64), ranks) > 0:
        code, bits, limit, needed = _offered(x, weight, bias, count, count, ranks)
    kept = bits > limit
    equal = (bits == limit).nonzero().view(-1)
    places = (code.rows[equal] + place.row) * place.width + code.columns[equal] + place.column
    last = one_after_another(places, ranks).sort().values[: int(needed)]
    if len(last):
        kept[equal] = places <= last[-1]
    return RaggedCode(code.rows[kept], code.columns[kept], code.values[kept], code.n_rows)


def _offered(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    offered: int,
    count: int,
    ranks: Ranks,
) -> tuple[RaggedCode, torch.Tensor, torch.Tensor, torch.Tensor]:
    made = linear_batch_topk(x, weight, bias, offered)
    real = made.values != 0
    code = RaggedCode(made.rows[real], made.columns[real], made.values[real], made.n_rows)
    bits = _ordered_bits(code.values.detach())
    return (code, bits, *ranked(bits, count, ranks))


def ranked(bits: torch.Tensor, count: int, ranks: Ranks) -> tuple[torch.Tensor, torch.Tensor]:
    """The integer (0-d) that is number `count` from the largest of all ranks' `bits` (m,) >= 0.

    And how many of those equal to it are among the `count`. −1 and 0 where there are not more than
    `count`. Found digit by digit from counts: no rank sees another's values.
    """
    n_digits = bits.element_size() * 8 // _DIGIT
    values = torch.arange(2**_DIGIT, device=bits.device)
    prefix = bits.new_zeros(())
    left = torch.full((), count, dtype=torch.int64, device=bits.device)
    total = summed(torch.full_like(left, len(bits)), ranks)
    live = torch.ones_like(bits, dtype=torch.bool)
    for number in reversed(range(n_digits)):
        digits = (bits >> (number * _DIGIT)) & (2**_DIGIT - 1)
        own = torch.bincount(digits[live], minlength=2**_DIGIT)
        counts = summed(own, ranks)
        above = counts.flip(0).cumsum(0).flip(0) - counts
        # The digit whose own values hold the wanted one: fewer than `left` lie above it.
        digit = torch.where(above < left, values, 2**_DIGIT - 1).amin()
        left = left - above[digit]
        prefix = (prefix << _DIGIT) | digit.to(bits.dtype)
        live &= digits == digit
    few = total <= count
    return torch.where(few, -1, prefix), torch.where(few, 0, left)


def _ordered_bits(values: torch.Tensor) -> torch.Tensor:
    """Bits of values > 0 as integers of the same order; NaN is the largest, whatever its sign."""
    kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()]
    return values.contiguous().view(kind) & torch.iinfo(kind).max
