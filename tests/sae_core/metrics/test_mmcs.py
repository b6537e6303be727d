from __future__ import annotations

import pytest
import torch

from sae_core.metrics import metrics
from sae_core.metrics.match_metric import MatchSeen
from sae_core.metrics.mmcs import match_dictionaries


def directions(f: int, d: int, *, seed: int) -> torch.Tensor:
    drawn = torch.randn(f, d, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def everything(a: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(a), dtype=torch.bool)


def match(a: torch.Tensor, b: torch.Tensor, alive_a=None, alive_b=None):
    return match_dictionaries(
        a,
        b,
        alive_a=everything(a) if alive_a is None else alive_a,
        alive_b=everything(b) if alive_b is None else alive_b,
        null_seed=0,
    )


def test_a_permuted_dictionary_matches_itself() -> None:
    a = directions(60, 16, seed=0)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    found = match(a, a[order])
    assert found.mmcs_ab == pytest.approx(1.0, abs=1e-5)
    assert found.mmcs_ba == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(order[found.best_in_b], torch.arange(60))
    assert torch.equal(found.best_in_a, order)


def test_direction_matters() -> None:
    a = directions(10, 16, seed=0)
    found = match(a, torch.cat([a, -a]))
    assert found.mmcs_ab == pytest.approx(1.0, abs=1e-5)
    assert found.mmcs_ba < 0.9
    assert match(a[:1], -a[:1]).mmcs_ab == pytest.approx(-1.0, abs=1e-5)


def test_the_dead_are_left_out_on_both_sides() -> None:
    a = torch.eye(4)
    alive_a = torch.tensor([False, True, True, False])
    alive_b = torch.tensor([True, True, False, True])
    found = match(a, a, alive_a, alive_b)
    assert found.mmcs_ab == pytest.approx(0.5)  # 1 meets itself, 2 meets nothing
    assert found.mmcs_ba == pytest.approx(1 / 3)
    assert found.mmcs_all_ab == pytest.approx(1.0)
    assert found.latent_a.tolist() == [1, 2]
    assert found.best_in_b[0].item() == 1
    assert found.latent_b.tolist() == [0, 1, 3]
    assert found.best_in_a[1].item() == 1


def test_random_dictionaries_score_the_null() -> None:
    found = match(directions(500, 32, seed=1), directions(400, 32, seed=2))
    assert found.mmcs_ab == pytest.approx(found.null_ab, abs=0.02)
    assert 0.3 < found.null_ab < 0.8


def test_without_living_latents_there_is_no_mmcs() -> None:
    a = directions(5, 8, seed=0)
    found = match(a, a, torch.zeros(5, dtype=torch.bool))
    assert found.mmcs_ab is None
    assert found.null_ab is None
    assert len(found.latent_a) == len(found.cosine_ba) == 0
    assert found.mmcs_all_ab == pytest.approx(1.0, abs=1e-5)


def test_dictionaries_of_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="width 8 and 9"):
        match(directions(5, 8, seed=0), directions(5, 9, seed=0))


def test_the_columns_average_their_own_kind_of_pair() -> None:
    seen = [
        MatchSeen("other_seed", 0.5, "trained"),
        MatchSeen("other_seed", 0.7, "trained"),
        MatchSeen("other_width", 0.1, "trained"),
        MatchSeen("other_weights", 0.3, "random"),
        MatchSeen("other_weights", 0.9, "random_except_embeddings"),
    ]
    found = metrics()["mmcs"].values("trained", seen)
    assert found["mmcs_other_seed"].value == pytest.approx(0.6)
    assert found["mmcs_other_seed"].n == 2
    assert found["mmcs_random_twin"].value == pytest.approx(0.3)


def test_missing_matches_are_null_with_their_reason() -> None:
    trained = metrics()["mmcs"].values("trained", [])
    assert trained["mmcs_other_seed"].value is None
    assert "no other seed" in trained["mmcs_other_seed"].reason
    assert "no twin" in trained["mmcs_random_twin"].reason
    twin = [MatchSeen("other_weights", 0.3, "trained")]
    random = metrics()["mmcs"].values("random", twin)["mmcs_random_twin"]
    assert random.value is None
    assert "trained weights only" in random.reason
