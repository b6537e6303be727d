from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from sae_core.architectures import config_class
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

TOY = Superposition()
STATISTICS = statistics_of(TOY.sample(2048, step=10**6))
CONFIG = config_class("p_anneal")


def annealing(**fields: object) -> Trainee:
    given = {"n_latents": 64, "tokens": 40 * 64, "batch_size": 64, "p_steps": 4, "lr": 1e-2}
    return Trainee(CONFIG(**(given | fields)), name="a", statistics=STATISTICS, seed=0)


def test_every_exponent_is_held_equally_long_and_the_last_to_the_end():
    config = annealing().config
    exponents = [config.exponent(step / 40) for step in range(40)]
    assert exponents == pytest.approx([1.0] * 20 + [0.8] * 5 + [0.6] * 5 + [0.4] * 5 + [0.2] * 5)


def test_steps_that_fall_between_batches_are_not_missed():
    config = annealing(p_steps=1000).config
    assert config.exponent(39 / 40) == pytest.approx(0.2, abs=0.05)
    assert config.exponent(1.0) == pytest.approx(0.2)


@pytest.mark.parametrize("at", [20, 25, 35])
def test_the_penalty_is_the_same_before_and_after_the_exponent_changes(at):
    trainee = annealing()
    for step in range(at - 1):
        trainee.step(TOY.sample(64, step=step))
    x, sae = TOY.sample(64, step=at - 1), trainee.sae
    before_context = trainee._context()
    before, activity = sae.losses(x, before_context)
    scale_before = sae.penalty_scale.clone()
    sae.observe(activity, torch.tensor(True))
    seen = at * 64
    after_context = replace(before_context, tokens_seen=seen, progress=seen / trainee.config.tokens)
    after, _ = sae.losses(x, after_context)
    assert scale_before != sae.penalty_scale
    assert before.terms["lp"] != after.terms["lp"]
    torch.testing.assert_close(
        after.terms["lp"] * sae.penalty_scale, before.terms["lp"] * scale_before
    )
    torch.testing.assert_close(after.total, before.total)


def test_a_batch_in_parts_changes_the_exponent_as_a_whole_one_does():
    whole, parts = annealing(), annealing(micro_batch=24)
    for step in range(36):
        for trainee in (whole, parts):
            trainee.step(TOY.sample(64, step=step))
    assert whole.sae.penalty_scale != 1
    torch.testing.assert_close(parts.sae.penalty_scale, whole.sae.penalty_scale, rtol=1e-3, atol=0)


def test_between_changes_and_in_unhealthy_steps_the_scale_keeps_its_bits():
    trainee = annealing()
    for step in range(19):
        trainee.step(TOY.sample(64, step=step))
        assert trainee.sae.penalty_scale == 1
    _, activity = trainee.sae.losses(TOY.sample(64, step=19), trainee._context())
    trainee.sae.observe(activity, torch.tensor(False))
    assert trainee.sae.penalty_scale == 1


def test_a_batch_that_activates_nothing_leaves_the_scale():
    trainee = annealing(p_hold_share=0.0)
    with torch.no_grad():
        trainee.sae.b_enc.fill_(-100.0)
    _, activity = trainee.sae.losses(TOY.sample(640, step=0), trainee._context())
    assert activity.notes
    trainee.sae.observe(activity, torch.tensor(True))
    assert trainee.sae.penalty_scale == 1


@pytest.mark.parametrize("fields", [{"p_end": 0.0}, {"p_hold_share": 1.0}, {"p_steps": 0}])
def test_annealing_to_nothing_is_refused(fields):
    with pytest.raises(ValidationError):
        annealing(**fields)
