"""Is one family of SAEs better than another? Two frontiers compared on the same documents.

A family is several recipes (the values of k, say) of several seeds each. Documents are resampled
once for both sides, seeds within each recipe; every resample makes both frontiers anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sae_core.bootstrap import interval, seed_weights
from sae_core.frontier import Frontier, frontier, hypervolume, value_at
from sae_core.metrics.definition import Measured

MIN_SEEDS = 3


@dataclass(frozen=True)
class Arm:
    """One recipe: sums of its S seeds over D documents, all (S, D) float64.

    L0 is Σ `active` / Σ `tokens`, the loss Σ `loss` / Σ `weight`: squared error over tokens for
    MSE; ce_spliced − ce_clean over ce_zero − ce_clean for the share of the loss not recovered.
    """

    name: str
    active: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """`a`, `b` the two values; `difference` a minus b with its interval: negative favours a.

    `probability` is the share of resamples in which a is lower; None without an interval, then
    `difference` has the reason, such as a recipe whose loss has no denominator above 0 (a and b
    are NaN then). n counts documents.
    """

    a: float
    b: float
    difference: Measured
    probability: float | None


def family_frontier(arms: Sequence[Arm]) -> Frontier:
    """The frontier of the recipes' means over seeds and documents."""
    one = np.ones((1, arms[0].active.shape[1]))
    l0, loss = _points(arms, one, [np.full((1, len(a.active)), 1 / len(a.active)) for a in arms])
    return frontier(l0[0], loss[0])


def value_with_interval(
    arms: Sequence[Arm], l0: float, counts: np.ndarray, *, seed: int
) -> Measured:
    """A family's loss at an L0 with its 95 % interval over documents and seeds.

    `counts` (B, D): how often each document is drawn (`bootstrap.resample_counts`).
    """
    if undefined := no_denominator(arms, counts):
        return Measured(None, n=arms[0].active.shape[1], reason=undefined)
    values = [value_at(one, l0) for one in _resampled(arms, counts, seed=seed, side=0)]
    point = value_at(family_frontier(arms), l0)
    return _measured(point, np.array(values), arms, _beyond(l0))


def compare_at(
    a: Sequence[Arm], b: Sequence[Arm], l0: float, counts: np.ndarray, *, seed: int
) -> Comparison:
    """Whether family a loses less than b at an L0, interpolated in both: a's loss less b's."""
    return _compared(a, b, counts, seed, lambda one: value_at(one, l0), _beyond(l0))


def compare_areas(
    a: Sequence[Arm],
    b: Sequence[Arm],
    counts: np.ndarray,
    *,
    l0: float,
    loss: float,
    seed: int,
) -> Comparison:
    """Whether a dominates more area inside the reference point (`frontier.hypervolume`).

    Values are areas with their sign turned, so that negative differences favour a here, too.
    """
    return _compared(
        a, b, counts, seed, lambda one: -hypervolume(one, l0=l0, loss=loss), "no area is known"
    )


def _compared(
    a: Sequence[Arm],
    b: Sequence[Arm],
    counts: np.ndarray,
    seed: int,
    number: Callable[[Frontier], float],
    reason: str,
) -> Comparison:
    if undefined := no_denominator([*a, *b], counts):
        nothing = Measured(None, n=a[0].active.shape[1], reason=undefined)
        return Comparison(float("nan"), float("nan"), nothing, None)
    points = [number(family_frontier(arms)) for arms in (a, b)]
    replicates = [
        np.array([number(one) for one in _resampled(arms, counts, seed=seed, side=side)])
        for side, arms in enumerate((a, b))
    ]
    difference = replicates[0] - replicates[1]
    measured = _measured(points[0] - points[1], difference, [*a, *b], reason)
    share = None if measured.ci_low is None else float((difference < 0).mean())
    return Comparison(points[0], points[1], measured, share)


def _resampled(
    arms: Sequence[Arm], counts: np.ndarray, *, seed: int, side: int
) -> Iterator[Frontier]:
    """A frontier per resample. Seeds are drawn for each recipe by itself: which seeds two recipes
    share is not used, which can only widen a comparison's interval."""
    weights = [
        seed_weights([len(arm.active)], len(counts), seed=seed, stream=1 + side + 2 * place)
        for place, arm in enumerate(arms)
    ]
    for l0, loss in zip(*_points(arms, counts, weights), strict=True):
        yield frontier(l0, loss)


def _points(
    arms: Sequence[Arm], counts: np.ndarray, weights: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """L0 and loss (B, number of arms) of documents drawn `counts` (B, D), seeds weighted (B, S)."""
    columns = []
    for arm, share in zip(arms, weights, strict=True):
        active, tokens, loss, weight = (
            counts @ sums.T for sums in (arm.active, arm.tokens, arm.loss, arm.weight)
        )
        columns.append(((share * active / tokens).sum(1), (share * loss / weight).sum(1)))
    l0, loss = zip(*columns, strict=True)
    return np.stack(l0, axis=1), np.stack(loss, axis=1)


def no_denominator(arms: Sequence[Arm], counts: np.ndarray) -> str | None:
    """Why a loss is none: in some recipe the interval of what it is divided by is not above 0."""
    for arm in arms:
        low, high = interval(counts @ arm.weight.mean(0))
        if not low > 0:
            return (
                f"{arm.name}: what the loss is divided by is not above 0 (interval {low:.3g} to "
                f"{high:.3g}): there is no loss to recover"
            )
    return None


def _beyond(l0: float) -> str:
    return f"L0 = {l0:g} is not between the measured L0; nothing is extrapolated"


def _measured(point: float, values: np.ndarray, arms: Sequence[Arm], reason: str) -> Measured:
    n = arms[0].active.shape[1]
    if not np.isfinite(point):
        return Measured(None, n=n, reason=reason)
    if not np.isfinite(values).all():
        without = int((~np.isfinite(values)).sum())
        told = f"interval undefined: {without} of {len(values)} resamples have no value"
        return Measured(point, n=n, reason=told)
    low, high = (float(end) for end in interval(values))
    few = min(len(arm.active) for arm in arms) < MIN_SEEDS
    given = f"given these seeds: fewer than {MIN_SEEDS}" if few else None
    return Measured(point, low, high, n=n, reason=given)
