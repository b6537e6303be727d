from __future__ import annotations

import pytest
import torch

from sae_core.dictionary_match import DictionaryMatch, Directions, match_dictionaries
from sae_core.match_nulls import BothWays, Null


def directions(f: int, d: int, *, seed: int) -> torch.Tensor:
    drawn = torch.randn(f, d, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def everything(a: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(a), dtype=torch.bool)


def sides(a: torch.Tensor, alive: torch.Tensor | None) -> Directions:
    """A dictionary whose encoder rows are its decoder rows, the first coordinate turned round."""
    turned = torch.cat([-a[:, :1], a[:, 1:]], 1)
    return Directions(a, turned, everything(a) if alive is None else alive)


def match(a: torch.Tensor, b: torch.Tensor, alive_a=None, alive_b=None) -> DictionaryMatch:
    return match_dictionaries(sides(a, alive_a), sides(b, alive_b), null_seed=0)


def test_a_permuted_dictionary_matches_itself() -> None:
    a = directions(60, 16, seed=0)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    found = match(a, a[order])
    assert found.mmcs_ab == pytest.approx(1.0, abs=1e-5)
    assert found.mmcs_ba == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(order[found.living.best_in_b], torch.arange(60))
    assert torch.equal(found.living.best_in_a, order)


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
    turned = match(a, -a, alive_a, alive_b)
    assert turned.living.abs_ab == pytest.approx(0.5)
    assert turned.living.abs_ba == pytest.approx(1 / 3)
    assert (turned.abs_all_ab, turned.abs_all_ba) == (1.0, 1.0)
    assert turned.mmcs_all_ab == pytest.approx(0.0)
    assert found.latent_a.tolist() == [1, 2]
    assert found.living.best_in_b[0].item() == 1
    assert found.latent_b.tolist() == [0, 1, 3]
    assert found.living.best_in_a[1].item() == 1


def test_random_dictionaries_score_the_null() -> None:
    found = match(directions(500, 32, seed=1), directions(400, 32, seed=2))
    for both in (found.living.nulls.random, found.living.nulls.permuted):
        for null, mmcs in ((both.ab, found.mmcs_ab), (both.ba, found.mmcs_ba)):
            assert mmcs == pytest.approx(null.mean, abs=0.02)
            assert 0.3 < null.mean < 0.8
            assert abs(null.z(mmcs)) < 6
        assert both.shared_at_most(0.5) >= found.living.pairs.shared[0.5]
        assert both.shared_z(0.5, found.living.pairs.shared[0.5]) < 1


def test_without_living_latents_there_is_no_mmcs() -> None:
    a = directions(5, 8, seed=0)
    found = match(a, a, torch.zeros(5, dtype=torch.bool))
    assert found.mmcs_ab is None
    assert found.living is None
    assert (len(found.latent_a), len(found.latent_b)) == (0, 5)
    assert found.mmcs_all_ab == pytest.approx(1.0, abs=1e-5)


def test_dictionaries_of_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="width 8 and 9"):
        match(directions(5, 8, seed=0), directions(5, 9, seed=0))


def test_absolute_cosines_see_opposite_directions_as_equal() -> None:
    a = directions(20, 16, seed=0)
    found = match(a, -a).living
    assert found.abs_ab == pytest.approx(1.0, abs=1e-5)
    assert found.abs_ba == pytest.approx(1.0, abs=1e-5)
    assert found.cosine_ab.mean() < 0.9


def test_encoders_are_matched_on_their_own_and_through_the_decoders_matches() -> None:
    a = directions(20, 16, seed=0)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    b = Directions(a[order], a, everything(a))
    found = match_dictionaries(Directions(a, a, everything(a)), b, null_seed=0).living
    assert found.encoder_mmcs_ab == pytest.approx(1.0, abs=1e-5)
    best = found.best_in_b
    assert torch.equal(order[best], torch.arange(20))
    assert torch.allclose(found.encoder_ab, (a * a[best]).sum(1), atol=1e-6)


def test_a_match_beyond_chance_stands_far_above_both_nulls() -> None:
    a = directions(200, 32, seed=1)
    b = torch.nn.functional.normalize(a + 0.1 * directions(200, 32, seed=2))
    found = match(a, b)
    for both in (found.living.nulls.random, found.living.nulls.permuted):
        assert both.ab.z(found.mmcs_ab) > 20
        assert both.ba.z(found.mmcs_ba) > 20
        assert both.shared_at_most(0.9) < 0.2
        assert both.shared_z(0.5, found.living.pairs.shared[0.5]) > 10


def test_nulls_of_all_latents_count_the_dead() -> None:
    """b has one living latent, so chance finds less among the living than among all."""
    a, b = directions(50, 16, seed=0), directions(50, 16, seed=1)
    alive_b = torch.arange(50) == 0
    found = match(a, b, None, alive_b)
    assert found.all_nulls.random.ab.mean > found.living.nulls.random.ab.mean + 0.2
    everyone = match(a, b)
    assert everyone.all_nulls == everyone.living.nulls


def test_a_shared_fraction_by_chance_is_counted_on_the_side_that_has_fewer() -> None:
    """f = 4, g = 2: of a's rows half reach 0.5, of b's a quarter: at most 0.25 of two pairs."""
    some = Null(0.0, 1.0, {0.5: (0.5, 0.1)}), Null(0.0, 1.0, {0.5: (0.25, 0.2)})
    both = BothWays(*some, f=4, g=2)
    assert both.shared_at_most(0.5) == 0.25
    assert both.shared_z(0.5, 0.65) == pytest.approx(2.0)
    assert BothWays(Null(0.0, 0.0, {0.5: (0.0, 0.0)}), some[1], 4, 2).shared_z(0.5, 1.0) is None


def test_permuted_coordinates_keep_what_one_large_coordinate_gives() -> None:
    """Every row of both leans on one coordinate; permuted, b leans on another one."""
    lean = torch.zeros(16)
    lean[3] = 5.0
    a, b = (torch.nn.functional.normalize(directions(50, 16, seed=i) + lean) for i in (1, 2))
    found = match(a, b)
    assert found.mmcs_ab > 0.9
    assert found.living.nulls.permuted.ab.mean < 0.9
    assert found.living.nulls.random.ab.mean < 0.8
