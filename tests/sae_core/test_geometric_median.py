from __future__ import annotations

import torch

from sae_core.geometric_median import geometric_median


def _rows(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


def test_no_other_point_is_nearer():
    x = _rows(200).exp().double()
    found = geometric_median(x, tolerance=1e-10, iterations=2000)
    at = (x - found).norm(dim=1).mean()
    for shift in _rows(50, seed=1).double() * 0.01:
        assert (x - found - shift).norm(dim=1).mean() >= at


def test_outliers_move_the_mean_but_not_the_median():
    x = _rows(200)
    x[0] = 1e6
    assert geometric_median(x).norm() < 1
    assert x.mean(0).norm() > 1000


def test_a_row_at_the_centre_and_equal_rows_are_no_trouble():
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    torch.testing.assert_close(geometric_median(x), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(
        geometric_median(torch.ones(4, 2)), torch.ones(2, dtype=torch.float64)
    )
