from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_core import batch_selection
from sae_core.architectures import build, config_class
from sae_core.initialise import initialise
from sae_core.threshold import solve_threshold
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

TOY = Superposition()
STATISTICS = statistics_of(TOY.sample(2048, step=10**6))


def batch_topk(**fields: object):
    return config_class("batch_topk")(**({"n_latents": 64, "tokens": 6400, "k": 3} | fields))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 12), st.sampled_from([1, 7, 100]), st.booleans())
def test_k_latents_per_token_lie_above_the_threshold_on_average(seed, k, n, uneven):
    z = torch.randn(n, 40, generator=torch.Generator().manual_seed(seed))
    if uneven:
        z[: n // 10 + 1] += 5
    threshold = solve_threshold(lambda batch: batch, z.split(max(1, n // 3)), k)
    assert threshold >= 0
    positive = int((z > 0).sum())
    assert int((z > threshold).sum()) == min(k * n, positive)


def test_fewer_positive_entries_than_wanted_give_threshold_zero():
    z = torch.tensor([[1.0, -1.0, -1.0], [-1.0, 2.0, -1.0]])
    assert solve_threshold(lambda batch: batch, [z], 2) == 0


def test_no_activations_are_refused():
    with pytest.raises(ValueError, match="at least one row"):
        solve_threshold(lambda batch: batch, [torch.zeros(0, 3)], 2)


def test_calibration_gives_k_latents_on_average_and_before_it_encode_refuses():
    sae = build(batch_topk(), width=32)
    initialise(sae, STATISTICS, seed=0)
    x = TOY.sample(512, step=0)
    with pytest.raises(ValueError, match="Call calibrate"):
        sae.encode(x)
    sae.calibrate(x.split(100))
    assert sae.encode(x).fired.sum() == 3 * 512


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rows", [2**24, 333, 1])
def test_calibration_counts_as_encoding_does_to_the_last_bit(seed, rows, monkeypatch):
    # Of this width and number of latents MKL's and oneDNN's products differ in their last bits.
    monkeypatch.setattr(batch_selection, "_ENTRIES", rows * 777)
    toy = Superposition(n_features=200, width=200)
    sae = build(batch_topk(n_latents=777, k=9), width=200)
    initialise(sae, statistics_of(toy.sample(512, step=10**6)), seed=seed)
    x = toy.sample(700, step=seed)
    sae.calibrate(x.split(300))
    assert sae.encode(x).fired.sum() == 9 * 700
    assert sum(sae.encode(part).fired.sum() for part in x.split(77)) == 9 * 700


def test_the_training_estimate_is_a_bias_corrected_mean_and_near_the_solution():
    trainee = Trainee(
        batch_topk(lr=1e-12, threshold_beta=0.9), name="a", statistics=STATISTICS, seed=0
    )
    smallest = []
    for step in range(10):
        x = TOY.sample(512, step=step)
        smallest.append(float(trainee.sae.losses(x, trainee._context())[1].smallest))
        trainee.step(x)
    weights = [0.9 ** (9 - i) for i in range(10)]
    expected = sum(w * s for w, s in zip(weights, smallest, strict=True)) / sum(weights)
    assert float(trainee.sae.estimated_threshold) == pytest.approx(expected, rel=1e-4)
    trainee.sae.calibrate([TOY.sample(512, step=100)])
    assert float(trainee.sae.threshold) == pytest.approx(expected, rel=0.1)
