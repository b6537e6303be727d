from __future__ import annotations

import pytest
import torch
from sae_kernels import linear_topk, nested_errors

from sae_core.architectures import config_class
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

TOY = Superposition(n_features=96, width=32, density=0.06)
STATISTICS = statistics_of(TOY.sample(2048, step=10**6))


def trained(name: str) -> Trainee:
    config = config_class(name)(n_latents=96, tokens=250 * 128, batch_size=128, k=3, lr=5e-3)
    trainee = Trainee(config, name=name, statistics=STATISTICS, seed=0)
    for step in range(250):
        trainee.step(TOY.sample(128, step=step))
    return trainee


@torch.no_grad()
def curve(trainee: Trainee, *, longest: int) -> torch.Tensor:
    """The mean squared error of the largest j latents, j = 0 ... longest."""
    sae = trainee.sae
    scaled = sae.scaled(TOY.sample(1024, step=9999))
    indices, values = linear_topk(scaled - sae.b_dec, sae.W_enc, sae.b_enc, longest)
    return nested_errors(scaled, indices, values, sae.W_dec, sae.b_dec).mean(0)


def test_its_code_goes_on_improving_beyond_k_where_topks_does_not():
    """A progressive code: what the second reconstruction is for."""
    plain, multi = (curve(trained(name), longest=12) for name in ("topk", "multi_topk"))
    assert multi[12] < 0.8 * plain[12]
    assert multi[12] < multi[3]
    assert plain[12] > plain[3]


@pytest.mark.parametrize(
    "fields", [{"k": 9}, {"k": 3, "multiple": 11}, {"k": 4, "k_start_multiple": 3.0}]
)
def test_more_latents_than_there_are_are_refused(fields):
    settings = {"n_latents": 32, "tokens": 100} | fields
    if "k_start_multiple" in fields:
        settings["k_anneal_share"] = 0.5
    with pytest.raises(ValueError, match="a product of at most 32"):
        config_class("multi_topk")(**settings)
