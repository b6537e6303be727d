"""Statistics of a source."""

from __future__ import annotations

import pytest
import torch

from pipeline.harvest.statistics import geometric_median, source_statistics


def rows(n: int = 300, d: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=generator) * torch.tensor([1.0, 2, 3, 4, 50])[:d] + 7


def test_moments_are_those_of_the_definition() -> None:
    x = rows()
    found, wide = source_statistics(x), x.double()
    assert torch.allclose(found.mean, wide.mean(0), rtol=1e-13)
    assert found.mean_norm == pytest.approx(float(wide.norm(dim=1).mean()), rel=1e-13)
    assert found.mean_square_norm == pytest.approx(float(wide.square().sum(1).mean()), rel=1e-13)
    variance = float((wide - wide.mean(0)).square().sum(1).mean())
    assert found.total_variance == pytest.approx(variance, rel=1e-11)
    assert (found.n, found.width) == (300, 5)


def test_variance_survives_a_mean_a_thousand_times_larger() -> None:
    x = rows() + 1e4
    wide = x.double()
    variance = float((wide - wide.mean(0)).square().sum(1).mean())
    assert source_statistics(x).total_variance == pytest.approx(variance, rel=1e-8)


def test_geometric_median_minimises_the_sum_of_distances() -> None:
    x = rows().double()
    y = geometric_median(x).requires_grad_(True)
    loss = (x - y).norm(dim=1).mean()
    (gradient,) = torch.autograd.grad(loss, y)
    assert gradient.norm() < 1e-5
    assert loss < (x - x.mean(0)).norm(dim=1).mean()


def test_geometric_median_of_a_majority_point_is_that_point() -> None:
    x = torch.cat([torch.full((6, 3), 2.0), torch.tensor([[50.0, 0, 0], [0, 50, 0], [9, 9, 50]])])
    assert torch.allclose(geometric_median(x), torch.full((3,), 2.0).double(), atol=1e-4)


def test_geometric_median_leaves_a_data_point_that_is_not_the_median() -> None:
    # The start, the mean, lies on a data point; the minimum is elsewhere.
    x = torch.tensor([[0.0, 0], [1, 0], [-2, 3], [-2, -3], [3, 0]])
    y = geometric_median(x)
    total = (x.double() - y).norm(dim=1).sum()
    for step in torch.randn(50, 2, generator=torch.Generator().manual_seed(1)).double() * 1e-3:
        assert total <= (x.double() - y - step).norm(dim=1).sum() + 1e-9


@pytest.mark.parametrize("n", [1, 2])
def test_few_rows_have_statistics(n: int) -> None:
    x = torch.ones(n, 4)
    found = source_statistics(x)
    assert found.total_variance == 0
    assert torch.equal(found.geometric_median, torch.ones(4).double())
