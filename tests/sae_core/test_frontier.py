from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_core.bootstrap import resample_counts
from sae_core.frontier import Frontier, dominated_by, frontier, hypervolume, value_at
from sae_core.frontier_comparison import (
    Arm,
    compare_areas,
    compare_at,
    family_frontier,
    value_with_interval,
)

points = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=0, max_size=12)


def beaten(p: tuple[int, int], q: tuple[int, int]) -> bool:
    return q[0] <= p[0] and q[1] <= p[1] and q != p


@settings(deadline=None)
@given(points)
def test_dominated_by_is_what_comparing_every_pair_finds(some: list[tuple[int, int]]) -> None:
    l0, loss = (np.array([p[i] for p in some], dtype=float) for i in (0, 1))
    for i, j in enumerate(dominated_by(l0, loss)):
        better = [q for q in range(len(some)) if beaten(some[i], some[q])]
        best = min(better, key=lambda q: (some[q][1], some[q][0], q), default=-1)
        assert j == best


@settings(deadline=None)
@given(points)
def test_the_frontier_is_what_nothing_dominates_once_each(some: list[tuple[int, int]]) -> None:
    l0, loss = (np.array([p[i] for p in some], dtype=float) for i in (0, 1))
    found = frontier(l0, loss)
    free = {some[i] for i in np.flatnonzero(dominated_by(l0, loss) < 0)}
    assert {some[i] for i in found.points} == free
    assert len(found.points) == len(free)
    assert (np.diff(found.l0) > 0).all()
    assert (np.diff(found.loss) < 0).all()


@settings(deadline=None)
@given(points)
def test_the_hypervolume_is_the_area_counted_in_small_steps(some: list[tuple[int, int]]) -> None:
    l0, loss = (np.array([p[i] for p in some], dtype=float) for i in (0, 1))
    steps = (np.arange(3 * 512) + 0.5) / 512  # log2 of L0 from 1 to 8
    reached = np.where(np.log2(l0) <= steps[:, None], loss, np.inf).min(axis=1, initial=7.0)
    counted = (7.0 - reached).sum() / 512
    assert hypervolume(frontier(l0, loss), l0=8, loss=7) == pytest.approx(counted, abs=0.1)


def test_values_between_points_are_linear_in_the_logarithm_and_none_lie_beyond() -> None:
    found = frontier(np.array([4.0, 16.0, 16.0]), np.array([3.0, 1.0, 2.0]))
    assert value_at(found, 8) == pytest.approx(2.0)
    assert value_at(found, 4) == 3.0
    assert value_at(found, 16) == 1.0
    assert np.isnan(value_at(found, 3.9))
    assert np.isnan(value_at(found, 17))
    assert np.isnan(value_at(frontier(np.zeros(0), np.zeros(0)), 4))


@pytest.mark.parametrize(
    ("l0", "loss"), [([1.0], [np.nan]), ([np.inf], [1.0]), ([-1.0], [1.0]), ([1.0], [1.0, 2.0])]
)
def test_points_that_are_none_are_refused(l0: list[float], loss: list[float]) -> None:
    with pytest.raises(ValueError, match="a frontier needs"):
        frontier(np.array(l0), np.array(loss))
    with pytest.raises(ValueError, match="a frontier needs"):
        dominated_by(np.array(l0), np.array(loss))


def test_a_reference_below_one_latent_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        hypervolume(Frontier(np.zeros(0, int), np.zeros(0), np.zeros(0)), l0=0.5, loss=1)


def family(levels: dict[int, float], *, seeds: int, spread: float, draw: int) -> list[Arm]:
    """Arms of 10 tokens in each of 40 documents; losses scatter over seeds and documents."""
    generator = np.random.default_rng(draw)
    tokens = np.full((seeds, 40), 10.0)
    arms = []
    for k, level in levels.items():
        loss = level + spread * (generator.normal(size=(seeds, 1)) + generator.normal(size=(1, 40)))
        arms.append(Arm(f"k{k}", k * tokens, tokens, loss * tokens, tokens))
    return arms


BETTER, WORSE = {8: 2.0, 32: 1.0}, {8: 2.4, 32: 1.4}
COUNTS = resample_counts(40, 400, seed=0)


def test_two_families_that_differ_are_told_apart_with_the_right_difference() -> None:
    a = family(BETTER, seeds=5, spread=0.05, draw=0)
    b = family(WORSE, seeds=5, spread=0.05, draw=1)
    told = compare_at(a, b, 16, COUNTS, seed=0)
    low, high = told.difference.ci_low, told.difference.ci_high
    assert low is not None
    assert high is not None
    assert low < -0.4 < high < 0
    assert told.difference.value == pytest.approx(told.a - told.b)
    assert told.a == pytest.approx(value_at(family_frontier(a), 16))
    assert told.probability == 1.0
    other = compare_at(b, a, 16, COUNTS, seed=0)
    assert other.probability == 0.0
    area = compare_areas(a, b, COUNTS, l0=32, loss=3.0, seed=0)
    # both fall by 0.4 from L0 8 to 32: two doublings
    assert area.difference.value == pytest.approx(-0.8, abs=0.15)
    assert area.probability == 1.0


def test_a_family_is_no_better_than_itself_drawn_again() -> None:
    covered = 0
    for draw in range(20):
        a = family(BETTER, seeds=6, spread=0.1, draw=2 * draw)
        b = family(BETTER, seeds=6, spread=0.1, draw=2 * draw + 1)
        told = compare_at(a, b, 16, COUNTS[:100], seed=draw).difference
        assert told.ci_low is not None
        assert told.ci_high is not None
        covered += told.ci_low <= 0 <= told.ci_high
    assert covered >= 16


def test_an_interval_grows_with_the_spread_and_says_when_seeds_are_few() -> None:
    narrow = value_with_interval(family(BETTER, seeds=5, spread=0.01, draw=0), 16, COUNTS, seed=0)
    wide = value_with_interval(family(BETTER, seeds=2, spread=0.1, draw=0), 16, COUNTS, seed=0)
    assert narrow.ci_low is not None
    assert narrow.ci_high is not None
    assert wide.ci_low is not None
    assert wide.ci_high is not None
    assert narrow.ci_high - narrow.ci_low < wide.ci_high - wide.ci_low
    assert narrow.value == pytest.approx(1.5, abs=0.05)
    assert narrow.reason is None
    assert wide.reason == "given these seeds: fewer than 3"


def test_an_l0_that_was_not_measured_has_no_value_and_a_reason() -> None:
    a = family(BETTER, seeds=3, spread=0.05, draw=0)
    told = compare_at(a, family({8: 2.0, 12: 1.0}, seeds=3, spread=0.0, draw=1), 16, COUNTS, seed=0)
    assert told.difference.value is None
    assert told.probability is None
    assert "extrapolated" in str(told.difference.reason)


def test_a_ratio_without_a_denominator_is_none_and_names_the_recipe() -> None:
    (one, *rest) = family(BETTER, seeds=3, spread=0.05, draw=0)
    weight = np.random.default_rng(0).normal(size=one.weight.shape)
    nothing = [Arm("flat", one.active, one.tokens, one.loss, weight - weight.mean()), *rest]
    told = compare_at(nothing, family(BETTER, seeds=3, spread=0.05, draw=1), 16, COUNTS, seed=0)
    assert (told.difference.value, told.probability) == (None, None)
    measured = value_with_interval(nothing, 16, COUNTS, seed=0)
    assert measured.value is None
    for reason in (told.difference.reason, measured.reason):
        assert str(reason).startswith("flat: what the loss is divided by is not above 0")


def test_resamples_without_a_value_are_counted() -> None:
    # Seeds differ in L0, so that some resamples' largest L0 falls short of the one asked for.
    arms = family(BETTER, seeds=4, spread=0.05, draw=0)
    wide = Arm("k32", arms[1].active * np.array([[0.9], [1.0], [1.0], [1.1]]), *vars_of(arms[1]))
    measured = value_with_interval([arms[0], wide], 32, COUNTS, seed=0)
    assert measured.value is not None
    assert measured.ci_low is None
    assert re.fullmatch(r"interval undefined: \d+ of 400 resamples have no value", measured.reason)


def vars_of(arm: Arm) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return arm.tokens, arm.loss, arm.weight
