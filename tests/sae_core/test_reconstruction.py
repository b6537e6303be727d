from __future__ import annotations

from typing import get_args

import pytest
import torch

from sae_core.architectures import build, config_class, names
from sae_core.config import LossScale
from sae_core.reconstruction import loss_unit, reconstruction_loss
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee
from sae_core.training_context import TrainingContext


def of_one_site() -> list[str]:
    """The architectures whose batches are activations of their source alone."""
    return [name for name in names() if config_class(name).inputs == "source"]


TOY = Superposition(offset=3.0)
X = TOY.sample(256, step=0).double()
MEAN = X.mean(0)
VARIANCE = float((X - MEAN).square().sum(1).mean())
SCALES = get_args(LossScale)
each_scale = pytest.mark.parametrize("scale", SCALES)


def context(**fields: object) -> TrainingContext:
    settings = {
        "progress": 0.5,
        "tokens_seen": 10_000,
        "since_fired": torch.arange(0, 1600, 100),
        "dead_window": 1000,
        "total_variance": VARIANCE,
        "mean": MEAN,
    }
    return TrainingContext(**(settings | fields))


def dividers(scale: str) -> torch.Tensor:
    squared = torch.tensor([float((row - MEAN) @ (row - MEAN)) for row in X], dtype=torch.float64)
    return {
        "none": torch.ones(len(X), dtype=torch.float64),
        "dataset_variance": torch.full((len(X),), VARIANCE, dtype=torch.float64),
        "token_variance": squared,
        "token_deviation": squared.sqrt(),
    }[scale]


@each_scale
def test_value_and_gradient_are_those_of_the_formula(scale):
    error = torch.randn(X.shape, generator=torch.Generator().manual_seed(1)).double()
    error.requires_grad_()
    measured, minimised = reconstruction_loss(error, X, scale, context())
    expected = sum(e @ e / g for e, g in zip(error, dividers(scale), strict=True)) / len(X)
    torch.testing.assert_close(minimised, expected)
    torch.testing.assert_close(measured, error.square().sum(1).mean())
    ours, judge = (torch.autograd.grad(value, error)[0] for value in (minimised, expected))
    torch.testing.assert_close(ours, judge)


@each_scale
def test_the_mean_as_reconstruction_costs_the_loss_unit(scale):
    _, minimised = reconstruction_loss(X - MEAN, X, scale, context())
    unit = loss_unit(scale, context())
    if scale == "token_deviation":
        assert 0.9 * unit < minimised <= unit
    else:
        assert float(minimised) == pytest.approx(unit)


@pytest.mark.parametrize("scale", ["token_variance", "token_deviation"])
def test_a_token_at_the_mean_is_weighed_by_a_finite_number(scale):
    at_mean = MEAN.expand(4, -1)
    error = torch.ones_like(at_mean).requires_grad_()
    _, minimised = reconstruction_loss(error, at_mean, scale, context())
    floor = VARIANCE / 1000
    expected = 32 / (floor if scale == "token_variance" else floor**0.5)
    assert float(minimised.detach()) == pytest.approx(expected)
    assert torch.autograd.grad(minimised, error)[0].isfinite().all()


def test_a_tokens_own_scale_without_a_mean_is_refused():
    with pytest.raises(ValueError, match="'token_variance', which needs the source's mean"):
        reconstruction_loss(X, X, "token_variance", context(mean=None))


def losses(scale: str) -> dict[str, torch.Tensor]:
    config = config_class("topk")(n_latents=16, tokens=1000, k=2, loss_scale=scale)
    sae = build(config, width=32).double()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws))
    terms, _ = sae.losses(X, context())
    return dict(terms.terms) | {"total": terms.total}


def test_auxk_keeps_its_share_of_the_loss():
    """Its weight is a share of the variance: dividing the error by V divides the whole loss."""
    plain, scaled = losses("none"), losses("dataset_variance")
    assert plain["auxk"] > 0
    torch.testing.assert_close(scaled["auxk"], plain["auxk"])
    torch.testing.assert_close(scaled["total"] * VARIANCE, plain["total"])


@pytest.mark.parametrize("name", of_one_site())
def test_every_architectures_reconstruction_is_divided_and_its_measurement_is_not(name):
    fields = {"n_latents": 48, "tokens": 640, "batch_size": 64}
    fields |= {"k": 3} if "k" in config_class(name).model_fields else {}
    measured = {}
    for scale in SCALES:
        config = config_class(name)(**fields, loss_scale=scale)
        statistics = statistics_of(X)
        trainee = Trainee(config, name="a", statistics=statistics, seed=0)
        measured[scale] = trainee.step(X[:64].float())
    plain = measured.pop("none")
    for found in measured.values():
        torch.testing.assert_close(found["reconstruction"], plain["reconstruction"])
        assert found["gradient_norm"] < plain["gradient_norm"] / 2
