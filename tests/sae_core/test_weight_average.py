from __future__ import annotations

import math

import pytest
import torch

from sae_core.architectures import config_class
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee
from sae_core.weight_average import WeightAverage

TOY = Superposition()
STATISTICS = statistics_of(TOY.sample(2048, step=10**6))


def trainee(**fields: object) -> Trainee:
    settings = {"n_latents": 48, "tokens": 640, "batch_size": 64, "k": 3, "ema_share": 0.3}
    config = config_class("topk")(**(settings | fields), lr=1e-2)
    return Trainee(config, name="a", statistics=STATISTICS, seed=0)


def test_it_is_the_weighted_mean_of_the_weights_after_each_step():
    one, seen, tokens = trainee(), [], []
    for step, n in enumerate((64, 32, 64, 64, 16)):
        one.step(TOY.sample(n, step=step))
        seen.append({k: v.detach().double() for k, v in one.sae.named_parameters()})
        seen[-1] = {k: v.clone() for k, v in seen[-1].items()}
        tokens.append(one.tokens_seen)
    window, total = 0.3 * 640, tokens[-1]
    # A step's own share is 1 − e^(−n / window), and what follows it shrinks it.
    sizes = [n - before for n, before in zip(tokens, [0, *tokens], strict=False)]
    weights = [
        -math.expm1(-n / window) * math.exp(-(total - t) / window)
        for n, t in zip(sizes, tokens, strict=True)
    ]
    for name, parameter in one.result().named_parameters():
        mean = sum(w * s[name] for w, s in zip(weights, seen, strict=True)) / sum(weights)
        if name == "W_dec":
            mean = mean / mean.norm(dim=1, keepdim=True)
        torch.testing.assert_close(parameter.detach().double(), mean, rtol=1e-5, atol=1e-6)


def test_training_does_not_notice_it():
    averaged, plain = trainee(), trainee(ema_share=None)
    for step in range(6):
        averaged.step(TOY.sample(64, step=step))
        plain.step(TOY.sample(64, step=step))
    assert torch.equal(averaged.sae.W_enc, plain.sae.W_enc)
    assert plain.result() is plain.sae
    assert not torch.equal(averaged.result().W_enc, averaged.sae.W_enc)


def test_saved_decoder_rows_are_unit_and_the_trained_ones_stay():
    one = trainee()
    for step in range(6):
        one.step(TOY.sample(64, step=step))
    before = one.sae.W_dec.detach().clone()
    torch.testing.assert_close(one.result().W_dec.detach().norm(dim=1), torch.ones(48))
    assert torch.equal(one.sae.W_dec, before)


def test_before_the_first_step_it_is_the_start():
    one = trainee()
    assert torch.equal(one.result().W_enc, one.sae.W_enc)


def test_an_unhealthy_step_leaves_every_bit_of_it():
    one = trainee()
    one.step(TOY.sample(64, step=0))
    before = {name: tensor.clone() for name, tensor in one.average.state().items()}
    one.step(TOY.sample(64, step=1) * torch.nan)
    with torch.no_grad():
        one.sae.b_enc.fill_(torch.nan)
    one.step(TOY.sample(64, step=2))
    for name, tensor in one.average.state().items():
        assert torch.equal(tensor, before[name]), name


def test_forgotten_latents_continue_from_their_weights_of_now():
    one = trainee()
    for step in range(3):
        one.step(TOY.sample(64, step=step))
    chosen = torch.arange(48) < 5
    average: WeightAverage = one.average
    kept = {name: total.clone() for name, total in average.sums.items()}
    average.forget(one.sae, chosen)
    made = one.result()
    for name in one.sae.latent_parameters:
        now = one.sae.get_parameter(name).detach()
        torch.testing.assert_close(made.get_parameter(name).detach()[:5], now[:5])
        assert torch.equal(average.sums[name][5:], kept[name][5:])
    assert torch.equal(average.sums["b_dec"], kept["b_dec"])


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_impossible_shares_are_refused(share):
    with pytest.raises(ValueError, match="ema_share"):
        trainee(ema_share=share)
