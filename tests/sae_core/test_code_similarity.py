from __future__ import annotations

import numpy as np
import pytest
import torch

from sae_core.code_similarity import MOST_TOKENS, code_similarity
from sae_core.expert_geometry import linear_cka
from sae_core.firing_together import CodeSample


def sample(dense: np.ndarray, places: np.ndarray | None = None) -> CodeSample:
    rows, latents = np.nonzero(dense)
    places = np.arange(len(dense)) if places is None else places
    return CodeSample(places, rows, latents, dense[rows, latents], dense.shape[1])


def sparse(n: int, f: int, *, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.random((n, f)) * (draw.random((n, f)) < 0.2)


def test_it_is_the_linear_cka_of_the_dense_codes():
    a, b = sparse(60, 9, seed=0), sparse(60, 30, seed=1)
    b[:, :5] += a[:, :5]
    found = code_similarity(sample(a), sample(b))
    expected = linear_cka(torch.from_numpy(a), torch.from_numpy(b))
    assert found.cka == pytest.approx(expected, abs=1e-12)
    assert found.n_tokens == 60


def test_a_permuted_and_scaled_code_is_the_same_and_shuffled_tokens_give_chance():
    a = sparse(300, 20, seed=2)
    order = np.random.default_rng(3).permutation(20)
    found = code_similarity(sample(a), sample(5 * a[:, order]))
    assert found.cka == pytest.approx(1.0)
    unrelated = code_similarity(sample(a), sample(sparse(300, 20, seed=4)))
    assert unrelated.cka == pytest.approx(unrelated.cka_shuffled, abs=0.03)
    assert found.cka_shuffled == pytest.approx(unrelated.cka_shuffled, abs=0.02)


def test_by_hand():
    """Tokens 0 and 1 differ in a's one latent, 2 and 3 in none of a's."""
    a = np.array([[1.0], [0], [0.5], [0.5]])
    b = np.array([[0.5], [0.5], [1.0], [0]])
    assert code_similarity(sample(a), sample(b)).cka == pytest.approx(0.0, abs=1e-15)
    both = code_similarity(sample(a), sample(np.c_[a, b]))
    assert both.cka == pytest.approx(0.5**0.5)


def test_only_common_tokens_count_and_not_more_than_are_stated():
    a = sparse(5000, 6, seed=5)
    odd = np.arange(1, 5000, 2)
    found = code_similarity(sample(a), sample(a[odd], odd))
    assert found.cka == pytest.approx(1.0)
    assert MOST_TOKENS / 2 < found.n_tokens <= MOST_TOKENS


def test_codes_that_cannot_be_compared_give_none():
    a = sparse(10, 4, seed=6)
    assert code_similarity(sample(a), sample(np.zeros((10, 4)))) is None
    assert code_similarity(sample(a), sample(np.full((10, 4), 0.3))) is None
    assert code_similarity(sample(a), sample(a, np.arange(10) + 100)) is None
