from __future__ import annotations

import pytest
import torch

from sae_core.architectures import build, config_class
from sae_core.auxiliary_loss import auxk_loss, auxk_width
from sae_core.initialise import initialise
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

TOY = Superposition()
STATISTICS = statistics_of(TOY.sample(2048, step=10**6))


def sae_and_batch():
    sae = build(config_class("topk")(n_latents=16, tokens=1000, k=2), width=32)
    initialise(sae, STATISTICS, seed=0)
    return sae, TOY.sample(64, step=0)


def only(n_latents: int, *latents: int) -> torch.Tensor:
    """The mask of these latents."""
    mask = torch.zeros(n_latents, dtype=torch.bool)
    mask[list(latents)] = True
    return mask


@pytest.mark.parametrize(
    ("width", "expected"),
    [(1, 1), (2, 1), (128, 64), (96, 64), (100, 64), (768, 512), (4096, 2048)],
)
def test_the_default_number_is_the_power_of_two_nearest_half_the_width(width, expected):
    assert auxk_width(width) == expected


def test_no_dead_latents_cost_nothing():
    sae, x = sae_and_batch()
    loss = auxk_loss(sae, x, x, dead=only(16), k_aux=4)
    assert loss == 0
    assert not loss.requires_grad


def test_a_constant_error_gives_zero_and_finite_gradients():
    sae, x = sae_and_batch()
    loss = auxk_loss(sae, sae.scaled(x), torch.ones_like(x), dead=only(16, *range(4)), k_aux=2)
    assert loss == 0
    gradients = torch.autograd.grad(loss, [sae.W_enc, sae.W_dec])
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_it_trains_encoder_and_decoder_of_dead_latents_alone():
    sae, x = sae_and_batch()
    dead = (3, 8, 11)
    scaled = sae.scaled(x)
    loss = auxk_loss(sae, scaled - sae.b_dec.detach(), scaled, dead=only(16, *dead), k_aux=2)
    for gradient in torch.autograd.grad(loss, [sae.W_enc, sae.b_enc, sae.W_dec]):
        moved = gradient.view(16, -1).abs().sum(1).nonzero().view(-1)
        assert moved.tolist() == list(dead)


def test_more_dead_latents_than_one_shape_holds_are_all_used_and_none_beside_them():
    sae = build(config_class("topk")(n_latents=600, tokens=1000, k=2), width=32)
    initialise(sae, STATISTICS, seed=0)
    dead, x = torch.arange(40, 500), TOY.sample(256, step=0)
    scaled = sae.scaled(x)
    centred = scaled - sae.b_dec.detach()
    loss = auxk_loss(sae, centred, scaled, dead=only(600, *range(40, 500)), k_aux=460)
    guess = (centred @ sae.W_enc[dead].T + sae.b_enc[dead]).relu() @ sae.W_dec[dead]
    expected = (scaled - guess).square().sum() / (scaled - scaled.mean(0)).square().sum()
    torch.testing.assert_close(loss, expected)
    parameters = [sae.W_enc, sae.b_enc, sae.W_dec]
    for ours, judge in zip(
        torch.autograd.grad(loss, parameters),
        torch.autograd.grad(expected, parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, judge, rtol=1e-3, atol=1e-5)


def test_a_perfect_guess_gives_zero_and_no_guess_at_least_one():
    sae, _ = sae_and_batch()
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(32)[:16])
        sae.W_dec.copy_(torch.eye(32)[:16])
    error = torch.zeros(64, 32)
    error[:, :4] = torch.rand(64, 4, generator=torch.Generator().manual_seed(0))
    perfect = auxk_loss(sae, error, error, dead=only(16, *range(4)), k_aux=4)
    assert float(perfect.detach()) == pytest.approx(0, abs=1e-6)
    silent = auxk_loss(sae, -error, error, dead=only(16, *range(4)), k_aux=4)
    assert silent >= 1


def test_it_brings_dead_latents_back():
    """Latents too quiet to be chosen stay dead without AuxK, and fire with it."""
    dead_shares = {}
    for weight in (0.0, 1 / 32):
        config = config_class("topk")(
            n_latents=64, tokens=300 * 128, batch_size=128, k=3, lr=5e-3, auxk_weight=weight
        )
        trainee = Trainee(config, name="a", statistics=STATISTICS, seed=0)
        with torch.no_grad():
            trainee.sae.W_enc[:32] *= 0.05
        for step in range(300):
            measured = trainee.step(TOY.sample(128, step=step))
        dead_shares[weight] = float(measured["dead_share"])
    assert dead_shares[0.0] >= 0.5
    assert dead_shares[1 / 32] < 0.1
