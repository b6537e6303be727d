from __future__ import annotations

from itertools import permutations

import pytest
import torch
from sae_kernels import max_cosine

from sae_core.one_to_one import OneToOne, one_to_one


def directions(f: int, d: int, *, seed: int) -> torch.Tensor:
    drawn = torch.randn(f, d, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn)


def paired(a: torch.Tensor, b: torch.Tensor, exact_up_to: int = 4096) -> OneToOne:
    return one_to_one(a, b, max_cosine(a, b), exact_up_to=exact_up_to)


def best_sum(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest sum of cosines over all pairings, by trying every one."""
    cosines = (a.double() @ b.double().T).tolist()
    return max(
        sum(cosines[i][j] for i, j in enumerate(order))
        for order in permutations(range(len(b)), len(a))
    )


@pytest.mark.parametrize("seed", range(5))
def test_exact_pairs_have_the_largest_sum_there_is(seed: int) -> None:
    a, b = directions(5, 3, seed=seed), directions(7, 3, seed=seed + 10)
    found = paired(a, b)
    assert found.is_exact
    assert found.mean_cosine == pytest.approx(best_sum(a, b) / 5, abs=1e-6)
    assert len(set(found.partner.tolist())) == 5
    assert found.mean_cosine <= found.mean_at_most + 1e-9
    turned = paired(b, a)
    assert turned.mean_cosine == pytest.approx(found.mean_cosine, abs=1e-6)
    assert (turned.partner >= 0).sum() == 5
    assert turned.cosine.isnan().sum() == 2


@pytest.mark.parametrize("exact_up_to", [4096, 1])
def test_no_row_serves_two_partners(exact_up_to: int) -> None:
    """Two rows of a nearly equal one row of b: one of them goes without it."""
    b = torch.eye(4)[:3]
    a = torch.nn.functional.normalize(b[[0, 0, 1]] + 0.01 * directions(3, 4, seed=0))
    found = paired(a, b, exact_up_to)
    assert sorted(found.partner.tolist()) == [0, 1, 2]
    assert found.shared == {tau: pytest.approx(2 / 3) for tau in (0.5, 0.7, 0.9)}
    assert found.shared_at_most == {tau: pytest.approx(2 / 3) for tau in (0.5, 0.7, 0.9)}


@pytest.mark.parametrize("seed", range(3))
def test_greedy_pairs_stay_within_their_bounds_and_near_the_exact_ones(seed: int) -> None:
    a = directions(300, 8, seed=seed)
    b = torch.nn.functional.normalize(a[:200] + 0.3 * directions(200, 8, seed=seed + 10))
    exact, greedy = paired(a, b), paired(a, b, 100)
    assert exact.is_exact
    assert not greedy.is_exact
    assert exact.mean_cosine / 2 <= greedy.mean_cosine <= exact.mean_cosine + 1e-9
    assert exact.mean_cosine <= greedy.mean_at_most == pytest.approx(exact.mean_at_most)
    for tau, share in greedy.shared.items():
        assert exact.shared[tau] <= greedy.shared_at_most[tau]
        assert share <= greedy.shared_at_most[tau]
        assert share >= exact.shared[tau] / 2


def test_the_same_dictionary_in_another_order_is_shared_whole() -> None:
    a = directions(50, 8, seed=0)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    for exact_up_to in (4096, 1):
        found = paired(a, a[order], exact_up_to)
        assert torch.equal(order[found.partner], torch.arange(50))
        assert found.shared[0.9] == found.shared_at_most[0.9] == 1.0
