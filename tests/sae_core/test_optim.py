from __future__ import annotations

import pytest
import torch

from sae_core.architectures import build, config_class
from sae_core.optim import RowAdam

HEALTHY = torch.tensor(True)


def adam(**fields: object) -> RowAdam:
    sae = build(config_class("topk")(**({"n_latents": 6, "tokens": 10, "k": 1} | fields)), width=4)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        sae.W_dec.copy_(sae.dictionary())
    return RowAdam(sae)


def gradients_of(optimiser: RowAdam, *, seed: int = 1, scale: float = 1.0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [parameter.shape for parameter in optimiser.parameters]
    return tuple(torch.randn(shape, generator=generator) * scale for shape in shapes)


def test_the_decoders_gradient_loses_its_part_along_each_row():
    optimiser = adam(clip=None)
    ready, _ = optimiser.prepare(gradients_of(optimiser))
    by_name = dict(zip(optimiser.names, ready, strict=True))
    along = (by_name["W_dec"] * optimiser.sae.W_dec).sum(1)
    torch.testing.assert_close(along, torch.zeros(6), atol=1e-6, rtol=0)


def test_rows_are_clipped_one_by_one_and_small_ones_not_at_all():
    optimiser = adam(clip=1.0)
    gradients = list(gradients_of(optimiser, scale=1e-3))
    index = optimiser.names.index("W_enc")
    gradients[index][2] *= 1e6
    ready, _ = optimiser.prepare(tuple(gradients))
    torch.testing.assert_close(ready[index][2].norm(), torch.tensor(1.0))
    others = [0, 1, 3, 4, 5]
    assert torch.equal(ready[index][others], gradients[index][others])


def test_a_row_without_gradient_stays_zero():
    optimiser = adam(clip=1.0)
    zeros = tuple(torch.zeros_like(parameter) for parameter in optimiser.parameters)
    ready, norm = optimiser.prepare(zeros)
    assert norm == 0
    assert all((gradient == 0).all() for gradient in ready)


def test_the_norm_is_that_of_all_gradients_before_clipping():
    optimiser = adam(clip=1e-3)
    gradients = gradients_of(optimiser)
    _, norm = optimiser.prepare(gradients)
    unclipped, _ = adam(clip=None).prepare(gradients)
    expected = torch.cat([gradient.reshape(-1) for gradient in unclipped]).norm()
    torch.testing.assert_close(norm, expected)


def test_steps_equal_plain_adam_with_normalised_decoder_rows():
    optimiser = adam(clip=None, beta1=0.8, beta2=0.95, eps=1e-6)
    twins = [parameter.detach().clone().requires_grad_() for parameter in optimiser.parameters]
    plain = torch.optim.Adam(twins, lr=0.1, betas=(0.8, 0.95), eps=1e-6, foreach=False)
    decoder = optimiser.names.index("W_dec")
    for step in range(5):
        ready, _ = optimiser.prepare(gradients_of(optimiser, seed=step))
        for twin, gradient in zip(twins, ready, strict=True):
            twin.grad = gradient.clone()
        optimiser.step(ready, lr=0.1, healthy=HEALTHY)
        plain.step()
        with torch.no_grad():
            twins[decoder] /= twins[decoder].norm(dim=1, keepdim=True)
    for parameter, twin in zip(optimiser.parameters, twins, strict=True):
        torch.testing.assert_close(parameter.detach(), twin.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_an_unhealthy_step_leaves_every_bit(poison):
    optimiser = adam()
    ready, _ = optimiser.prepare(gradients_of(optimiser))
    optimiser.step(ready, lr=0.1, healthy=HEALTHY)
    tensors = [*optimiser.parameters, *optimiser.state().values()]
    before = [tensor.detach().clone() for tensor in tensors]
    poisoned = [torch.full_like(gradient, poison) for gradient in ready]
    optimiser.step(poisoned, lr=0.1, healthy=~HEALTHY)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))
