from __future__ import annotations

import numpy as np
import pytest

from sae_core.bootstrap import resample_counts
from sae_core.group_jackknife import group_replicates, n_groups


def test_of_a_mean_the_resamples_are_those_of_the_groups() -> None:
    groups = np.random.default_rng(0).normal(size=20)
    left_out = (groups.sum() - groups) / 19
    found = group_replicates(groups.mean(), left_out, 300, seed=5)
    expected = resample_counts(20, 300, seed=5) @ groups / 20
    assert found == pytest.approx(expected)


def test_the_spread_is_about_that_of_resampled_documents() -> None:
    """A ratio that is no mean: 600 documents in 20 groups."""
    generator = np.random.default_rng(1)
    top, below = generator.normal(3, 1, 600), generator.normal(2, 1, 600)
    group = np.arange(600) % 20

    def ratio(kept: np.ndarray) -> float:
        return top[kept].sum() / below[kept].sum()

    left_out = np.array([ratio(group != g) for g in range(20)])
    found = group_replicates(ratio(group >= 0), left_out, 4000, seed=0)
    counts = resample_counts(600, 4000, seed=0)
    documents = (counts @ top) / (counts @ below)
    assert found.std() == pytest.approx(documents.std(), rel=0.35)
    assert found.mean() == pytest.approx(ratio(group >= 0), abs=3 * found.std() / 60)


def test_where_groups_make_no_difference_there_is_no_interval() -> None:
    assert group_replicates(0.5, np.full(20, 0.5), 100, seed=0) is None
    assert group_replicates(0.5, np.array([0.4]), 100, seed=0) is None
    assert group_replicates(0.5, np.array([0.4, np.nan]), 100, seed=0) is None


def test_few_documents_are_groups_of_their_own() -> None:
    assert (n_groups(3), n_groups(20), n_groups(1000)) == (3, 20, 20)
