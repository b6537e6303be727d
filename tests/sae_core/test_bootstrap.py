from __future__ import annotations

import numpy as np
import pytest

from sae_core.bootstrap import interval, resample_counts, seed_weights


def test_every_resample_draws_as_many_documents_as_there_are() -> None:
    counts = resample_counts(7, 50, seed=3)
    assert counts.shape == (50, 7)
    assert (counts.sum(1) == 7).all()
    assert (counts == np.round(counts)).all()


def test_a_seed_fixes_the_resamples_and_another_changes_them() -> None:
    first = resample_counts(9, 40, seed=1)
    assert np.array_equal(first, resample_counts(9, 40, seed=1))
    assert not np.array_equal(first, resample_counts(9, 40, seed=2))


def test_resampling_leaves_the_global_generator_alone() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    resample_counts(5, 10, seed=0)
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize(("documents", "resamples"), [(0, 10), (3, 0)])
def test_nothing_to_resample_is_refused(documents: int, resamples: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        resample_counts(documents, resamples, seed=0)


def test_intervals_of_a_mean_cover_it_about_95_times_in_100() -> None:
    generator = np.random.default_rng(5)
    covered = 0
    for trial in range(300):
        sample = generator.normal(2.0, 1.0, size=40)
        replicates = resample_counts(40, 400, seed=trial) @ sample / 40
        low, high = interval(replicates)
        covered += bool(low <= 2.0 <= high)
    assert 0.89 <= covered / 300 <= 0.98


def test_interval_ends_are_order_statistics_taken_outwards() -> None:
    low, high = interval(np.arange(1000.0)[:, None])
    assert (low, high) == (np.array([24.0]), np.array([975.0]))


def test_infinite_replicates_open_an_end_and_undefined_ones_both() -> None:
    replicates = np.stack([np.linspace(0, 1, 100), np.linspace(0, 1, 100)], axis=1)
    replicates[:10, 0] = -np.inf
    replicates[0, 1] = np.nan
    low, high = interval(replicates)
    assert low[0] == -np.inf
    assert np.isfinite(high[0])
    assert np.isnan([low[1], high[1]]).all()


def test_seed_weights_are_resampled_shares() -> None:
    weights = seed_weights([3], 2000, seed=0, stream=1)
    assert weights.shape == (2000, 3)
    assert np.allclose(weights.sum(1), 1)
    assert np.allclose(weights * 3, np.round(weights * 3))
    assert np.allclose(weights.mean(0), 1 / 3, atol=0.03)


def test_seed_weights_resample_groups_first() -> None:
    weights = seed_weights([3, 1], 4000, seed=0, stream=1)
    assert np.allclose(weights.sum(1), 1)
    assert np.isclose(weights[:, 3].mean(), 0.5, atol=0.03)
    assert set(np.round(weights[:, 3], 9)) == {0.0, 0.5, 1.0}


def test_streams_draw_independently() -> None:
    one = seed_weights([4], 200, seed=0, stream=1)
    other = seed_weights([4], 200, seed=0, stream=2)
    assert not np.array_equal(one, other)
