from __future__ import annotations

import pytest
import torch

from sae_core.architectures import config_class
from sae_core.loss_terms import LossTerms
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

TOY = Superposition()
STATISTICS = statistics_of(TOY.sample(2048, step=10**6))


def trainee(**fields: object) -> Trainee:
    settings = {"n_latents": 64, "tokens": 640, "batch_size": 64, "k": 3} | fields
    return Trainee(config_class("topk")(**settings), name="a", statistics=STATISTICS, seed=0)


def test_counters_grow_by_the_batch_and_only_values_above_zero_reset_them():
    one = trainee(k=64)
    with torch.no_grad():
        # With k = f all latents are selected; those of negative bias have the value 0.
        one.sae.b_enc[:10] = -1000.0
    one.step(TOY.sample(64, step=0))
    assert (one.since_fired[:10] == 64).all()
    assert (one.since_fired[10:] == 0).any()
    one.step(TOY.sample(32, step=1))
    assert (one.since_fired[:10] == 96).all()


def test_a_latent_is_dead_after_the_window_and_not_before():
    one = trainee(dead_window_tokens=128, dead_window_share=1.0, auxk_weight=0.0)
    with torch.no_grad():
        one.sae.b_enc[:16] = -1000.0
    assert one.step(TOY.sample(64, step=0))["dead_share"] == 0
    assert one.step(TOY.sample(64, step=1))["dead_share"] >= 16 / 64


def test_done_when_the_budget_is_spent_the_last_batch_counting_whole():
    one = trainee(tokens=100)
    one.step(TOY.sample(64, step=0))
    assert not one.done
    one.step(TOY.sample(64, step=1))
    assert one.done
    assert one.tokens_seen == 128


def test_fvu_is_the_error_over_the_source_variance():
    one = trainee()
    x = TOY.sample(64, step=0)
    with torch.no_grad():
        error = (x - one.sae(x)).square().sum(1).mean()
    expected = float(error) / STATISTICS.total_variance
    assert float(one.step(x)["fvu"]) == pytest.approx(expected, rel=1e-4)


def test_a_state_of_another_shape_is_refused_and_names_what_differs():
    state = trainee().state()
    with pytest.raises(ValueError, match=r"sae\.W_dec.*Remove the checkpoint"):
        trainee(n_latents=32).load_state(state)
    del state["adam.count"]
    with pytest.raises(ValueError, match=r"adam\.count"):
        trainee().load_state(state)


def test_a_state_is_a_copy():
    one = trainee()
    state = one.state()
    one.step(TOY.sample(64, step=0))
    assert not torch.equal(state["sae.W_enc"], one.sae.W_enc)


def test_a_non_finite_gradient_with_a_finite_loss_counts_as_divergence():
    one = trainee()
    before = one.state()
    prepare = one.optimiser.prepare
    one.optimiser.prepare = lambda gradients: (prepare(gradients)[0], torch.tensor(torch.inf))
    one.step(TOY.sample(64, step=0))
    assert one.diverged == 0
    assert one.diverged_in == "gradient_norm"
    assert torch.equal(before["sae.W_enc"], one.sae.W_enc)


def test_the_first_term_that_is_not_finite_is_named_and_kept():
    config = config_class("relu")(n_latents=64, tokens=640, batch_size=64, l1_warmup_share=0.0)
    one = Trainee(config, name="a", statistics=STATISTICS, seed=0)
    one.step(TOY.sample(64, step=0))
    assert one.diverged_in is None
    true_losses = one.sae.losses

    def poisoned(x, context):
        terms, activity = true_losses(x, context)
        bad = terms.terms["l1"] * torch.inf
        return LossTerms(terms.total + bad, terms.terms | {"l1": bad}), activity

    one.sae.losses = poisoned
    one.step(TOY.sample(64, step=1))
    one.step(TOY.sample(64, step=2) * torch.nan)
    assert (one.diverged, one.diverged_in) == (1, "l1")
