from __future__ import annotations

import numpy as np
import pytest

from sae_core.firing_together import CodeSample, firing_together, in_common


def sample(dense: np.ndarray, places: np.ndarray | None = None) -> CodeSample:
    """The sample of a dense code (n, f), entries within a token in falling order of latents."""
    rows, latents = np.nonzero(dense[:, ::-1] > 0)
    latents = dense.shape[1] - 1 - latents
    places = np.arange(len(dense)) if places is None else places
    return CodeSample(places, rows, latents, dense[rows, latents], dense.shape[1])


def drawn(n: int, f: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.exponential(size=(n, f)) * (draw.random((n, f)) < 0.3)


def test_correlation_and_joint_fires_are_those_of_dense_codes():
    a, b = drawn(300, 12, 0), drawn(300, 9, 1)
    b[:, 4] = 2 * a[:, 3]
    partner = np.array([0, 8, 4, 4, 4, 1, 2, 3, 5, 6, 7, -1])
    found = firing_together(sample(a), sample(b), partner)
    for i, p in enumerate(partner[:-1]):
        assert found.correlation[i] == pytest.approx(np.corrcoef(a[:, i], b[:, p])[0, 1])
        assert found.n_both[i] == ((a[:, i] > 0) & (b[:, p] > 0)).sum()
    assert found.correlation[3] == pytest.approx(1.0)
    assert np.isnan(found.correlation[-1])
    assert found.n_fires.tolist() == (a > 0).sum(0).tolist()
    assert found.share[3] == 1.0
    assert found.share[-1] == 0.0


def test_what_does_not_vary_has_no_correlation():
    a = np.c_[np.zeros(50), np.full(50, 0.1), drawn(50, 1, 0)]
    found = firing_together(sample(a), sample(a[:, ::-1].copy()), np.array([0, 0, 1]))
    assert np.isnan(found.correlation).all()
    assert np.isnan(found.share[0])


def test_codes_without_any_fire_are_compared():
    a = drawn(50, 3, 0)
    found = firing_together(sample(a), sample(np.zeros((50, 2))), np.array([0, 1, 1]))
    assert np.isnan(found.correlation).all()
    assert found.n_both.tolist() == [0, 0, 0]


def test_only_common_places_count():
    a, b = drawn(40, 5, 0), drawn(60, 5, 1)
    places_a, places_b = np.arange(40) * 6, np.arange(60) * 4
    one, other = in_common(sample(a, places_a), sample(b, places_b))
    common = np.intersect1d(places_a, places_b)
    assert one.places.tolist() == other.places.tolist() == common.tolist()
    found = firing_together(one, other, np.arange(5))
    left, right = a[np.isin(places_a, common)], b[np.isin(places_b, common)]
    assert found.n_tokens == len(common)
    assert found.correlation[2] == pytest.approx(np.corrcoef(left[:, 2], right[:, 2])[0, 1])


def test_other_places_are_refused():
    with pytest.raises(ValueError, match="in_common"):
        firing_together(sample(drawn(4, 2, 0)), sample(drawn(5, 2, 0)), np.arange(2))
