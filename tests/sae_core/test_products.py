from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from sae_core.architectures import build, config_class, names
from sae_core.architectures.gated import to_jumprelu
from sae_core.config import SaeConfig
from sae_core.products import decoded, decoded_by_constants, encoded
from sae_core.sae import Sae
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee


def of_one_site() -> list[str]:
    """The architectures whose batches are activations of their source alone."""
    return [name for name in names() if config_class(name).inputs == "source"]


TOY = Superposition(n_features=48, width=32, density=0.04)
STATISTICS = statistics_of(TOY.sample(4096, step=10**6))
lowering = [name for name in of_one_site() if not config_class(name).float32_only]


def config(name: str, **fields: object) -> SaeConfig:
    return config_class(name)(**({"n_latents": 64, "tokens": 640, "batch_size": 64} | fields))


def drawn(**fields: object) -> Sae:
    sae = build(config("relu", **fields), width=32)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws))
    return sae


def test_both_products_and_every_gradient_are_those_of_rounded_factors():
    x = torch.randn(40, 32, generator=torch.Generator().manual_seed(1))
    found = []
    for low in (True, False):
        sae = drawn(compute="bfloat16" if low else "float32")
        rounded = x.bfloat16().float()
        if not low:
            with torch.no_grad():
                for matrix in (sae.W_enc, sae.W_dec):
                    matrix.copy_(matrix.bfloat16().float())
        z = encoded(sae, x if low else rounded, sae.b_enc)
        y = decoded(sae, z.relu())
        constant = decoded_by_constants(sae, z.relu())
        assert torch.equal(constant, y)
        (reached,) = torch.autograd.grad(constant.sum(), sae.b_enc, retain_graph=True)
        unreached = torch.autograd.grad(
            constant.sum(), [sae.W_dec, sae.b_dec], retain_graph=True, allow_unused=True
        )
        assert reached.abs().max() > 0
        assert unreached == (None, None)
        gradients = torch.autograd.grad(y.square().sum(), list(sae.parameters()))
        assert all(gradient.dtype == torch.float32 for gradient in gradients)
        found.append([z.detach(), y.detach(), *gradients])
    for ours, judge in zip(*found, strict=True):
        assert float((ours - judge).norm() / judge.norm()) < 0.01


@pytest.mark.parametrize("name", lowering)
def test_training_in_bfloat16_ends_where_float32_does_and_keeps_float32_weights(name):
    ends = {}
    for compute in ("float32", "bfloat16"):
        made = config(name, compute=compute, tokens=200 * 256, batch_size=256, lr=1e-2)
        trainee = Trainee(made, name="a", statistics=STATISTICS, seed=0)
        for step in range(200):
            measured = trainee.step(TOY.sample(256, step=step))
        ends[compute] = float(measured["loss"])
        tensors = [*trainee.sae.parameters(), *trainee.optimiser.mean]
        assert all(tensor.dtype == torch.float32 for tensor in tensors)
    assert ends["bfloat16"] == pytest.approx(ends["float32"], rel=0.02)


@pytest.mark.parametrize("name", lowering)
def test_the_products_of_training_are_made_in_bfloat16(name):
    x = TOY.sample(64, step=0)
    one, other = (
        Trainee(config(name, compute=compute), name="a", statistics=STATISTICS, seed=0)
        for compute in ("float32", "bfloat16")
    )
    full, low = one.step(x), other.step(x)
    assert full["loss"] != low["loss"]
    torch.testing.assert_close(low["loss"], full["loss"], rtol=1e-2, atol=0)
    fresh = Trainee(config(name, compute="bfloat16"), name="a", statistics=STATISTICS, seed=0)
    plain = Trainee(config(name), name="a", statistics=STATISTICS, seed=0)
    assert torch.equal(fresh.sae(x), plain.sae(x)), "inference is float32"


@pytest.mark.parametrize("name", sorted(set(of_one_site()) - set(lowering)))
def test_what_has_float32_products_only_refuses_another_precision(name):
    k = {"k": 3} if "k" in config_class(name).model_fields else {}
    with pytest.raises(ValidationError, match=r"compute 'bfloat16'.*Allowed: 'float32'"):
        config(name, compute="bfloat16", **k)


def test_a_gated_sae_trained_in_bfloat16_converts():
    trainee = Trainee(config("gated", compute="bfloat16"), name="a", statistics=STATISTICS, seed=0)
    for step in range(3):
        trainee.step(TOY.sample(64, step=step))
    x = TOY.sample(64, step=9)
    torch.testing.assert_close(to_jumprelu(trainee.sae)(x), trainee.sae(x))
