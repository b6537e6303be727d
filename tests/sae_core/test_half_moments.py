"""Adam's moments in bfloat16: half the memory, the same training."""

from __future__ import annotations

import pytest
import torch

from sae_core.architectures import config_class
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

TOY = Superposition()
STATISTICS = statistics_of(TOY.sample(2048, step=10**6))
STEPS, BATCH = 250, 128


def trainee(**fields: object) -> Trainee:
    settings = {"n_latents": 64, "tokens": STEPS * BATCH, "batch_size": BATCH, "k": 3, "lr": 5e-3}
    config = config_class("topk")(**(settings | fields))
    return Trainee(config, name="a", statistics=STATISTICS, seed=0)


def trained(one: Trainee, first: int = 0, last: int = STEPS) -> float:
    """The mean loss of the last 50 steps."""
    losses = [float(one.step(TOY.sample(BATCH, step=step))["loss"]) for step in range(first, last)]
    return sum(losses[-50:]) / len(losses[-50:])


def test_a_recipe_chooses_the_moments_and_parameters_stay_float32():
    one = trainee(moments="bfloat16")
    trained(one, 0, 2)
    state = one.state()
    moments = {name: t for name, t in state.items() if name.startswith("adam.mean")}
    assert moments
    assert all(tensor.dtype is torch.bfloat16 for tensor in moments.values())
    assert all(t.dtype is torch.float32 for n, t in state.items() if n.startswith("sae."))


def test_the_loss_is_that_of_float32_moments():
    exact, half = (trained(trainee(moments=name)) for name in ("float32", "bfloat16"))
    assert half != exact
    assert half == pytest.approx(exact, rel=0.05)


def test_a_continued_run_has_the_bits_of_an_uninterrupted_one():
    whole, before, after = (trainee(moments="bfloat16") for _ in range(3))
    trained(whole, 0, 30)
    trained(before, 0, 17)
    after.load_state(before.state())
    trained(after, 17, 30)
    state = after.state()
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.state().items())
