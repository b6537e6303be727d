"""A latent that reads one normal coordinate: how its mean loss changes with θ is known."""

from __future__ import annotations

import math

import pytest
import torch

from sae_core.architectures import build, config_class
from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

PENALTIES = {
    "step": {"sparsity": 0.4},
    "tanh": {"sparsity": 0.4, "sparsity_warmup_share": 0, "jump_to_encoder": False},
    "target_l0": {"sparsity": 2.0, "target_l0": 0.1},
}
# Equally likely values: their mean is the expectation, without sampling noise.
X = torch.special.ndtri((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000).unsqueeze(1)


def one_latent(penalty: str = "step", *, theta: float = 0.8, bandwidth: float = 0.05) -> Sae:
    config = config_class("jumprelu")(
        n_latents=1, tokens=1, penalty=penalty, bandwidth=bandwidth, **PENALTIES[penalty]
    )
    sae = build(config, width=1).double()
    with torch.no_grad():
        sae.W_enc.fill_(0.9)
        sae.b_enc.fill_(0.1)
        sae.W_dec.fill_(1.0)
        sae.b_dec.fill_(-0.2)
        sae.threshold.fill_(theta)
    return sae


def loss(sae: Sae, x: torch.Tensor = X) -> torch.Tensor:
    context = TrainingContext(
        progress=1.0, tokens_seen=0, since_fired=torch.zeros(1), dead_window=9, total_variance=1.0
    )
    return sae.losses(x, context)[0].total


def slope(penalty: str, theta: float = 0.8) -> float:
    """The mean loss's derivative by θ, by central differences."""
    step = 0.01
    with torch.no_grad():
        above, below = (loss(one_latent(penalty, theta=theta + h)) for h in (step, -step))
    return float(above - below) / (2 * step)


def estimate(sae: Sae) -> float:
    return float(torch.autograd.grad(loss(sae), sae.threshold)[0])


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("theta", [0.02, 0.3, 0.8, 1.5])
def test_the_two_sided_estimate_tends_to_the_slope_of_the_mean_loss(penalty, theta):
    truth = slope(penalty, theta)
    density = math.exp(-(((theta - 0.28) / 0.9) ** 2) / 2) / (0.9 * math.sqrt(2 * math.pi))
    for bandwidth in (0.02, 0.05, 0.2):
        found = estimate(one_latent(penalty, theta=theta, bandwidth=bandwidth))
        assert abs(found - truth) < 0.6 * density * bandwidth
    assert estimate(one_latent(penalty, theta=theta, bandwidth=0.02)) == pytest.approx(
        truth, rel=0.02
    )


@pytest.mark.parametrize("penalty", ["step", "target_l0"])
def test_one_side_of_the_window_alone_would_not_do(penalty):
    """Reconstruction's share: above θ its slope in a is small, below it is large."""
    sae = one_latent(penalty)
    z = X * 0.9 + 0.2 * 0.9 + 0.1
    window = (z - 0.8).abs() < 0.025
    sides = []
    for side in (z > 0.8, z <= 0.8):
        error = X - (z * (z > 0.8) - 0.2)
        sides.append(float((2 * error * 0.8 * window * side).sum()) * 2 / (0.05 * len(X)))
    truth = slope_of_reconstruction()
    assert sum(sides) / 2 == pytest.approx(truth, rel=0.02)
    assert all(abs(side - truth) > abs(truth) / 2 for side in sides)
    assert float(sae.threshold.detach()) == 0.8


def slope_of_reconstruction() -> float:
    errors = []
    for theta in (0.81, 0.79):
        sae = one_latent(theta=theta)
        with torch.no_grad():
            errors.append(float((X - sae(X)).square().mean()))
    return (errors[0] - errors[1]) / 0.02


def test_the_jumps_gradient_also_moves_the_encoder_where_wanted():
    """Mean loss by b_enc: raising all z by h is lowering θ by h, values above it aside."""
    sae = one_latent("tanh")
    moved = sae.config.model_copy(update={"jump_to_encoder": True, "bandwidth": 0.05})
    sae.config = moved
    (gradient,) = torch.autograd.grad(loss(sae), sae.b_enc)
    step, found = 0.01, []
    for h in (step, -step):
        twin = one_latent("tanh")
        with torch.no_grad():
            twin.b_enc.add_(h)
            found.append(float(loss(twin)))
    assert float(gradient) == pytest.approx((found[0] - found[1]) / (2 * step), rel=0.02)
