"""Pairing the rows of two dictionaries one to one, so that no row serves two partners."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sae_kernels.max_cosine import MaxCosine

from sae_core.metrics.match_metric import SHARED_AT

EXACT_UP_TO = 4096
_NEIGHBOURS, _BLOCK = 16, 2048


@dataclass(frozen=True)
class OneToOne:
    """Partners of a's rows in b: `partner` (f,) int64, −1 for none, and their `cosine` (f,), NaN.

    `is_exact`: no other pairing has a larger sum of cosines. `mean_cosine` is that sum over
    min(f, g), rows without a partner counting 0; `mean_at_most` bounds it for every pairing.
    `shared[τ]`: pairs of cosine ≥ τ over min(f, g); `shared_at_most[τ]` bounds it likewise.
    """

    partner: torch.Tensor
    cosine: torch.Tensor
    is_exact: bool
    mean_cosine: float
    mean_at_most: float
    shared: dict[float, float]
    shared_at_most: dict[float, float]


def one_to_one(
    a: torch.Tensor, b: torch.Tensor, best: MaxCosine, *, exact_up_to: int = EXACT_UP_TO
) -> OneToOne:
    """Pairs unit rows a (f, d) with unit rows b (g, d) so that the cosines' sum is large.

    `best` is max_cosine(a, b), from which the bounds come.

    Up to `exact_up_to` rows on the larger side the sum is the largest there is (assignment
    problem; the f × g cosines take 8 f g bytes: 128 MiB at 4096). Above, pairs are taken greedily,
    the closest first, among the 16 nearest rows of each row of a; nothing of size f × g is held.
    Either way the bounds come from best cosines alone: no pairing can give a row more than its
    best, nor share more rows than those whose best reaches τ, counted on the side that has less.
    Reference: Crouse, On implementing 2D rectangular assignment algorithms (2016); Paulo and
    Belrose, Sparse Autoencoders Trained on the Same Data Learn Different Features (2025),
    arXiv 2501.16615.
    """
    smaller, is_exact = min(len(a), len(b)), max(len(a), len(b)) <= exact_up_to
    sides = best.value_ab.double().cpu(), best.value_ba.double().cpu()
    rows, columns = _assigned(a, b) if is_exact else _greedy(a, b)
    partner = torch.full((len(a),), -1)
    partner[rows] = columns
    cosine = torch.full((len(a),), torch.nan, dtype=torch.float64)
    where = a.device
    cosine[rows] = (a[rows.to(where)] * b[columns.to(where)]).sum(1).double().cpu()
    # The larger side has rows that stay alone: of it only the best `smaller` can count.
    most = min(float(side.topk(smaller).values.clamp_min(0).sum()) for side in sides)
    return OneToOne(
        partner=partner,
        cosine=cosine,
        is_exact=is_exact,
        mean_cosine=float(cosine.nansum()) / smaller,
        mean_at_most=most / smaller,
        shared={tau: int((cosine >= tau).sum()) / smaller for tau in SHARED_AT},
        shared_at_most={
            tau: min(int((side >= tau).sum()) for side in sides) / smaller for tau in SHARED_AT
        },
    )


def _assigned(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    from scipy.optimize import linear_sum_assignment

    cosines = (a.double() @ b.double().T).cpu().numpy()
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    return torch.from_numpy(rows), torch.from_numpy(columns)


def _greedy(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    cosines, neighbours = _nearest(a, b, min(_NEIGHBOURS, len(b)))
    order = cosines.flatten().argsort(descending=True, stable=True)
    row_of = order // cosines.shape[1]
    column_of = neighbours.flatten()[order]
    taken_a, taken_b = bytearray(len(a)), bytearray(len(b))
    rows, columns = [], []
    for row, column in zip(row_of.tolist(), column_of.tolist(), strict=True):
        if not taken_a[row] and not taken_b[column]:
            taken_a[row] = taken_b[column] = 1
            rows.append(row)
            columns.append(column)
    return torch.tensor(rows), torch.tensor(columns)


def _nearest(a: torch.Tensor, b: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest cosines of each row of a with rows of b, and which rows these are, (f, k)."""
    found = []
    for rows in a.split(_BLOCK):
        value = rows.new_full((len(rows), 0), -torch.inf)
        index = torch.zeros(len(rows), 0, dtype=torch.int64, device=a.device)
        for start in range(0, len(b), _BLOCK):
            new = rows @ b[start : start + _BLOCK].T
            place = torch.arange(start, start + new.shape[1], device=a.device).expand(new.shape)
            both, places = torch.cat([value, new], 1), torch.cat([index, place], 1)
            value, at = both.topk(min(k, both.shape[1]), dim=1)
            index = places.gather(1, at)
        found.append((value, index))
    values, indices = zip(*found, strict=True)
    return torch.cat(values).cpu(), torch.cat(indices).cpu()
