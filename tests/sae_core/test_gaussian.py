"""A Gaussian has the mean and covariance of the rows it is matched with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sae_core.gaussian import matched_gaussian


def rows(n: int, d: int, *, seed: int, offset: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator)
    return (torch.randn(n, d, generator=generator) @ mixing + offset).float()


@given(
    n=st.integers(2, 40),
    d=st.integers(1, 6),
    seed=st.integers(0, 99),
    block=st.integers(1, 17),
    offset=st.sampled_from([0.0, 1e3]),
)
def test_one_pass_over_blocks_gives_the_moments_of_all_rows(n, d, seed, block, offset) -> None:
    x = rows(n, d, seed=seed, offset=offset)
    found = matched_gaussian(x.split(block))
    exact = x.double().numpy()
    covariance = np.atleast_2d(np.cov(exact.T, bias=True))
    size = np.abs(covariance).max()
    assert np.allclose(found.mean, exact.mean(0), rtol=1e-12)
    assert torch.equal(found.root, found.root.T)
    assert np.allclose(found.root @ found.root, covariance, atol=1e-11 * size + 1e-20)


def test_what_is_drawn_has_the_moments_within_the_error_of_sampling() -> None:
    x = rows(500, 4, seed=1, offset=3.0)
    gaussian = matched_gaussian([x])
    n = 40_000
    generator = torch.Generator().manual_seed(2)
    drawn = gaussian.rows(torch.randn(n, 4, generator=generator, dtype=torch.float64))
    wanted = gaussian.root @ gaussian.root
    deviations = wanted.diagonal().sqrt()
    assert ((drawn.mean(0) - gaussian.mean).abs() < 5 * deviations / n**0.5).all()
    error = ((torch.outer(wanted.diagonal(), wanted.diagonal()) + wanted.square()) / n).sqrt()
    assert ((drawn.T.cov() - wanted).abs() < 5 * error).all()


def test_a_direction_without_variance_gets_none() -> None:
    x = rows(30, 3, seed=0, offset=0.0)
    x[:, 1] = 2.0
    drawn = matched_gaussian([x]).rows(torch.ones(1, 3, dtype=torch.float64))
    assert float(drawn[0, 1]) == pytest.approx(2.0, abs=1e-6)


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="none were given"):
        matched_gaussian([torch.empty(0, 3)])
