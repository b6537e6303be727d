from __future__ import annotations

import pytest
import torch

from sae_core.expert_geometry import (
    duplicates_across_experts,
    linear_cka,
    router_against_experts,
    router_geometry,
    router_in_down_projection,
)

EYE = torch.eye(4)


def test_duplicates_are_found_across_experts_and_not_within_them():
    within = torch.stack([EYE[0], 3 * EYE[0], EYE[1], EYE[2]])
    assert duplicates_across_experts(within, 2).tolist() == [0, 0, 0, 0]
    halfway = (EYE[0] + EYE[1]) / 2**0.5
    across = torch.stack([EYE[0], EYE[1], 2 * EYE[0], EYE[2], halfway, -EYE[3]])
    found = duplicates_across_experts(across, 3)
    torch.testing.assert_close(found, torch.tensor([1, 0.5**0.5, 1, 0, 0.5**0.5, 0]))


def test_a_router_that_points_at_its_experts_has_a_diagonal_of_ones():
    encoder = torch.stack([2 * EYE[0], EYE[1], EYE[2], 5 * EYE[3]])
    router = torch.stack([EYE[0] + EYE[1], 7 * (EYE[2] + EYE[3])])
    torch.testing.assert_close(router_against_experts(router, encoder), torch.eye(2))
    swapped = router_against_experts(router.flip(0), encoder)
    torch.testing.assert_close(swapped, torch.eye(2).flip(0))
    turned = torch.stack([EYE[0] - EYE[1], EYE[0] + EYE[2]])
    torch.testing.assert_close(
        router_against_experts(turned, encoder), torch.tensor([[0.0, 0.0], [0.5, 0.5]])
    )


def test_the_routers_share_in_a_down_projection_by_hand():
    # Singular vectors e_0, e_1, e_2, e_3 with values 4, 3, 2, 1.
    encoder = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    inside = torch.stack([EYE[0] + EYE[1], EYE[1]])
    assert router_in_down_projection(inside, encoder) == (pytest.approx(1.0), 0.5)
    outside = torch.stack([EYE[2], EYE[3]])
    assert router_in_down_projection(outside, encoder)[0] == pytest.approx(0.0)
    mixed = torch.stack([EYE[0], 3 * EYE[2]])
    assert router_in_down_projection(mixed, encoder)[0] == pytest.approx(0.1)


def test_random_routers_have_a_share_of_chance():
    generator = torch.Generator().manual_seed(0)
    encoder = torch.randn(300, 40, generator=generator)
    shares = [
        router_in_down_projection(torch.randn(8, 40, generator=generator), encoder)
        for _ in range(50)
    ]
    assert sum(share for share, _ in shares) / 50 == pytest.approx(shares[0][1], abs=0.02)


@pytest.mark.parametrize("n", [6, 200])
def test_cka_is_1_for_rotations_and_scales_and_follows_its_formula(n):
    generator = torch.Generator().manual_seed(1)
    a, other = torch.randn(n, 9, generator=generator), torch.randn(n, 5, generator=generator)
    rotation = torch.linalg.qr(torch.randn(9, 9, generator=generator)).Q
    assert linear_cka(a, 3 * a @ rotation + 1) == pytest.approx(1, abs=1e-6)
    b = a[:, :5] + other
    x, y = (part.double() - part.double().mean(0) for part in (a, b))
    expected = (x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())
    assert linear_cka(a, b) == pytest.approx(float(expected), abs=1e-12)
    assert linear_cka(b, a) == pytest.approx(float(expected), abs=1e-12)


def test_cka_by_hand():
    a = torch.tensor([[1.0], [-1.0], [0.0], [0.0]])
    orthogonal = torch.tensor([[0.0], [0.0], [1.0], [-1.0]])
    assert linear_cka(a, orthogonal) == 0
    # Of b's two columns of equal size one is a's: 1 · 1 / (1 · sqrt(2)).
    assert linear_cka(a, torch.cat([a, orthogonal], 1)) == pytest.approx(0.5**0.5)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="multiple of 2 or more experts"):
        duplicates_across_experts(EYE, 3)
    with pytest.raises(ValueError, match="multiple of 2 or more experts"):
        router_against_experts(EYE[:1], EYE)
    with pytest.raises(ValueError, match="SAEs of one source"):
        router_in_down_projection(EYE, EYE[:3])
    with pytest.raises(ValueError, match="same tokens"):
        linear_cka(EYE, EYE[:3])
    with pytest.raises(ValueError, match="same on every token"):
        linear_cka(EYE, torch.ones(4, 2))


def test_the_routers_report_by_hand_and_without_a_projection_above_the_width():
    encoder = torch.stack([2 * EYE[0], EYE[1], EYE[2], 5 * EYE[3]])
    router = torch.stack([EYE[0] + EYE[1], EYE[0] + EYE[1]])
    found = router_geometry(router, encoder, torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0])))
    assert (found.own_cosine, found.other_cosine) == (pytest.approx(0.5), pytest.approx(0.5))
    assert (found.in_down_projection, found.chance) == (pytest.approx(1.0), 0.5)
    many = router_geometry(router.repeat(3, 1), encoder.repeat(3, 1), EYE)
    assert (many.in_down_projection, many.chance) == (None, None)
