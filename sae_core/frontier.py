"""Frontiers of sparsity against loss: which points no other beats, and how good they are together.

A point is an SAE, or a recipe's mean over seeds: its L0 and a loss of which less is better (MSE, or
the share of the ablation's loss that is not recovered). L0 spans orders of magnitude, so areas and
interpolation take log₂ L0 as their axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frontier:
    """The points that no other beats: `points` (m,) their places among all, ascending in L0.

    `l0`, `loss` (m,) float64; L0 rises strictly and loss falls strictly along them.
    """

    points: np.ndarray
    l0: np.ndarray
    loss: np.ndarray


def dominated_by(l0: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """For each of n points the one that beats it by most, (n,) int64; −1 on the frontier.

    i is beaten by j where l0_j ≤ l0_i and loss_j ≤ loss_i, one of them lower. Of several that beat
    it, the one with the lowest loss is named, then the lowest L0, then the first. Equal points do
    not beat each other. Raises ValueError for points that are not finite or whose L0 is negative.
    """
    l0, loss = _checked(l0, loss)
    no_worse = (l0[None] <= l0[:, None]) & (loss[None] <= loss[:, None])
    beats = no_worse & ((l0[None] < l0[:, None]) | (loss[None] < loss[:, None]))
    rank = np.empty(len(l0), dtype=np.int64)
    order = np.lexsort((np.arange(len(l0)), l0, loss))
    rank[order] = np.arange(len(l0))
    best = np.where(beats, rank[None], len(l0)).min(axis=1, initial=len(l0))
    return np.where(best < len(l0), order[np.minimum(best, max(len(l0) - 1, 0))], -1)


def frontier(l0: np.ndarray, loss: np.ndarray) -> Frontier:
    """The frontier of n points; of equal ones the first stands for all. Raises as `dominated_by`.

    One sort: in ascending L0 (then loss) a point is kept where its loss is a new minimum.
    """
    l0, loss = _checked(l0, loss)
    order = np.lexsort((np.arange(len(l0)), loss, l0))
    before = np.concatenate([[np.inf], np.minimum.accumulate(loss[order])[:-1]])
    kept = order[loss[order] < before[: len(order)]]
    return Frontier(kept, l0[kept], loss[kept])


def value_at(found: Frontier, l0: float) -> float:
    """The frontier's loss at an L0, linear in log₂ L0 between points; NaN beyond its ends.

    Nothing is extrapolated: outside the measured L0 the loss is not known.
    """
    if len(found.l0) == 0 or not found.l0[0] <= l0 <= found.l0[-1]:
        return float("nan")
    return float(np.interp(_axis(np.asarray(l0)), _axis(found.l0), found.loss))


def hypervolume(found: Frontier, *, l0: float, loss: float) -> float:
    """Area that the frontier dominates inside a reference point, in log₂ L0 × the loss' unit.

    ∫ max(0, loss_ref − min {loss_i : l0_i ≤ x}) d log₂ x over 1 ≤ x ≤ l0_ref; points with L0 below
    1 count from 1. 0 where no point lies inside. Two frontiers compare only at one reference point.
    Reference: Zitzler and Thiele, Multiobjective Evolutionary Algorithms (1999), section IV.
    """
    if not l0 >= 1:
        raise ValueError(f"hypervolume(l0={l0}): the reference's L0 must be at least 1.")
    inside = (found.l0 <= l0) & (found.loss < loss)
    starts = np.maximum(_axis(found.l0[inside]), 0.0)
    ends = np.append(starts[1:], np.log2(l0))
    return float(((ends - starts) * (loss - found.loss[inside])).sum())


def _axis(l0: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log2(l0)


def _checked(l0: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    l0, loss = np.asarray(l0, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    if l0.shape != loss.shape or l0.ndim != 1:
        raise ValueError(f"a frontier needs L0 and loss (n,) alike; given {l0.shape}, {loss.shape}")
    if not (np.isfinite(l0).all() and np.isfinite(loss).all() and (l0 >= 0).all()):
        raise ValueError(
            "a frontier needs finite losses and finite L0 that are not negative. Leave out SAEs "
            "that were not measured."
        )
    return l0, loss
