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


def moved(optimiser: RowAdam, gradients: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    """The gradients that a first step really uses, read off its moments."""
    ready, _ = optimiser.prepare(gradients)
    optimiser.step(ready, lr=0.0, healthy=HEALTHY)
    share = 1 - optimiser.sae.config.beta1
    return {name: mean / share for name, mean in zip(optimiser.names, optimiser.mean, strict=True)}


def test_the_decoders_gradient_loses_its_part_along_each_row():
    optimiser = adam(clip=None)
    used = moved(optimiser, gradients_of(optimiser))
    along = (used["W_dec"] * optimiser.sae.W_dec).sum(1)
    torch.testing.assert_close(along, torch.zeros(6), atol=1e-5, rtol=0)


def test_a_free_decoder_keeps_its_norms_and_its_whole_gradient():
    optimiser = adam(clip=None)
    optimiser.sae.unit_decoder = False
    with torch.no_grad():
        optimiser.sae.W_dec *= 3
    before = optimiser.sae.W_dec.detach().clone()
    gradients = gradients_of(optimiser)
    used = moved(optimiser, gradients)
    torch.testing.assert_close(used["W_dec"], gradients[optimiser.names.index("W_dec")])
    assert torch.equal(optimiser.sae.W_dec, before)


def test_rows_are_clipped_one_by_one_and_small_ones_not_at_all():
    optimiser = adam(clip=1.0)
    gradients = list(gradients_of(optimiser, scale=1e-3))
    index = optimiser.names.index("W_enc")
    gradients[index][2] *= 1e6
    used = moved(optimiser, tuple(gradients))["W_enc"]
    torch.testing.assert_close(used[2].norm(), torch.tensor(1.0))
    others = [0, 1, 3, 4, 5]
    torch.testing.assert_close(used[others], gradients[index][others])


def test_a_global_clip_scales_all_gradients_by_one_number():
    optimiser = adam(clip=0.5, clip_by="global")
    gradients = gradients_of(optimiser)
    unclipped = moved(adam(clip=None), gradients)
    used = moved(optimiser, gradients)
    norm = torch.cat([gradient.reshape(-1) for gradient in unclipped.values()]).norm()
    for name, gradient in used.items():
        torch.testing.assert_close(gradient, unclipped[name] * 0.5 / norm)


def test_a_global_clip_leaves_small_gradients_alone():
    optimiser = adam(clip=1e3, clip_by="global")
    gradients = gradients_of(optimiser)
    used = moved(optimiser, gradients)
    for name, gradient in moved(adam(clip=None), gradients).items():
        assert torch.equal(used[name], gradient)


@pytest.mark.parametrize("clip_by", ["row", "global"])
def test_a_row_without_gradient_stays_zero(clip_by):
    optimiser = adam(clip=1.0, clip_by=clip_by)
    zeros = tuple(torch.zeros_like(parameter) for parameter in optimiser.parameters)
    assert optimiser.prepare(zeros)[1] == 0
    assert all((gradient == 0).all() for gradient in moved(optimiser, zeros).values())


def test_the_norm_is_that_of_all_gradients_before_clipping():
    optimiser = adam(clip=1e-3)
    gradients = gradients_of(optimiser)
    _, norm = optimiser.prepare(gradients)
    unclipped = moved(adam(clip=None), gradients).values()
    expected = torch.cat([gradient.reshape(-1) for gradient in unclipped]).norm()
    torch.testing.assert_close(norm, expected)


def test_steps_equal_plain_adam_with_normalised_decoder_rows():
    optimiser = adam(clip=None, beta1=0.8, beta2=0.95, eps=1e-6)
    twins = [parameter.detach().clone().requires_grad_() for parameter in optimiser.parameters]
    plain = torch.optim.Adam(twins, lr=0.1, betas=(0.8, 0.95), eps=1e-6, foreach=False)
    decoder = optimiser.names.index("W_dec")
    for step in range(5):
        gradients = gradients_of(optimiser, seed=step + 1)
        for twin, gradient in zip(twins, gradients, strict=True):
            twin.grad = gradient.clone()
        with torch.no_grad():
            rows = twins[decoder]
            along = (rows * rows.grad).sum(1, keepdim=True)
            rows.grad -= along * rows
        ready, _ = optimiser.prepare(gradients)
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
    poisoned = tuple(torch.full_like(tensor, poison) for tensor in optimiser.parameters)
    optimiser.step(optimiser.prepare(poisoned)[0], lr=0.1, healthy=~HEALTHY)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))
