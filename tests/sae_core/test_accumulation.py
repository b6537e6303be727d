from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sae_core.accumulation import batch_gradients
from sae_core.architectures import build, config_class, names
from sae_core.config import SaeConfig
from sae_core.sae import Sae
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee
from sae_core.training_context import TrainingContext


def of_one_site() -> list[str]:
    """The architectures whose batches are activations of their source alone."""
    return [name for name in names() if config_class(name).inputs == "source"]


TOY = Superposition()
STATISTICS = statistics_of(TOY.sample(2048, step=10**6))


def config(name: str, **fields: object) -> SaeConfig:
    settings = {"n_latents": 48, "tokens": 640, "batch_size": 64}
    known = config_class(name).model_fields
    settings |= {field: value for field, value in (("k", 3), ("k_aux", 5)) if field in known}
    return config_class(name)(**(settings | fields))


splitting = [name for name in of_one_site() if not config_class(name).needs_whole_batch]


def drawn(name: str, dtype: torch.dtype, **fields: object) -> Sae:
    sae = build(config(name, **fields), width=32).to(dtype)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws) / 4)
    return sae


def context(dtype: torch.dtype) -> TrainingContext:
    """A run in which some latents are dead and will be so after the batch."""
    return TrainingContext(
        progress=0.7,
        tokens_seen=10_000,
        since_fired=torch.randint(0, 2000, (48,), generator=torch.Generator().manual_seed(1)),
        dead_window=1000,
        total_variance=20.0,
        mean=torch.full((32,), 0.1, dtype=dtype),
    )


@pytest.mark.parametrize(("size", "scale"), [(1, "token_variance"), (24, "none"), (63, "none")])
@pytest.mark.parametrize("name", splitting)
def test_parts_add_up_to_the_whole_batch(name, size, scale):
    x = TOY.sample(64, step=0).double()
    made = []
    for micro_batch in (None, size):
        sae = drawn(name, torch.float64, micro_batch=micro_batch, loss_scale=scale)
        made.append(batch_gradients(sae, x, context(torch.float64), list(sae.parameters())))
    whole, parts = made
    assert whole.terms.terms.get("auxk", torch.ones(())) > 0
    torch.testing.assert_close(parts.terms.total, whole.terms.total, rtol=1e-12, atol=0)
    assert parts.terms.terms.keys() == whole.terms.terms.keys()
    for term, value in whole.terms.terms.items():
        torch.testing.assert_close(parts.terms.terms[term], value, rtol=1e-12, atol=0)
    assert torch.equal(parts.activity.fired, whole.activity.fired)
    torch.testing.assert_close(parts.activity.l0.double(), whole.activity.l0.double())
    # A row normalised alone may differ from the same row in a batch by its last bit.
    torch.testing.assert_close(parts.activity.smallest, whole.activity.smallest, rtol=1e-12, atol=0)
    for ours, judge in zip(parts.gradients, whole.gradients, strict=True):
        torch.testing.assert_close(ours, judge, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", splitting)
def test_in_float32_they_agree_to_a_hundred_thousandth(name):
    x = TOY.sample(512, step=0)
    made = []
    for micro_batch in (None, 64):
        sae = drawn(name, torch.float32, micro_batch=micro_batch, batch_size=512)
        made.append(batch_gradients(sae, x, context(torch.float32), list(sae.parameters())))
    for ours, judge in zip(made[1].gradients, made[0].gradients, strict=True):
        torch.testing.assert_close(ours, judge, rtol=0, atol=float(1e-5 * judge.abs().max()))


class Largest(TorchDispatchMode):
    """Bytes of the largest storage that any operation returns."""

    n_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        sizes = [t.untyped_storage().nbytes() for t in tree_leaves(found) if torch.is_tensor(t)]
        self.n_bytes = max(self.n_bytes, *sizes, 0)
        return found


@pytest.mark.parametrize("name", splitting)
def test_memory_is_that_of_a_part(name):
    f, n, size = 510, 1024, 64
    largest = {}
    for micro_batch in (None, size):
        settings = {"n_latents": f, "batch_size": n, "tokens": 4 * n}
        made = config(name, **settings, micro_batch=micro_batch)
        trainee = Trainee(made, name="a", statistics=STATISTICS, seed=0)
        trainee.since_fired.fill_(10 * n)  # with AuxK's term and its first pass
        trainee.tokens_seen = n
        x = TOY.sample(n, step=0)
        with Largest() as seen:
            trainee.step(x)
        largest[micro_batch] = seen.n_bytes
    batch_bytes = x.numel() * 4
    assert largest[None] > 2 * batch_bytes
    # Selection may sort keys of 8 bytes in place of the values of 4.
    assert largest[size] <= max(batch_bytes, 8 * f * size)


def test_training_in_parts_is_training():
    ends = {}
    for micro_batch in (None, 16):
        made = config("topk", micro_batch=micro_batch, lr=1e-2)
        trainee = Trainee(made, name="a", statistics=STATISTICS, seed=0)
        for step in range(10):
            measured = trainee.step(TOY.sample(64, step=step))
        ends[micro_batch] = float(measured["fvu"])
    assert ends[16] == pytest.approx(ends[None], rel=1e-2)


def test_a_smaller_last_batch_is_not_split():
    made, x = config("relu", micro_batch=16), TOY.sample(10, step=0)
    sae = drawn("relu", torch.float32, micro_batch=16)
    whole = drawn("relu", torch.float32)
    assert made.micro_batch > len(x)
    ours, judge = (
        batch_gradients(one, x, context(torch.float32), list(one.parameters()))
        for one in (sae, whole)
    )
    assert all(torch.equal(a, b) for a, b in zip(ours.gradients, judge.gradients, strict=True))


def test_token_losses_come_in_the_batchs_order():
    x = TOY.sample(64, step=0)
    made = []
    for micro_batch in (None, 10):
        sae = drawn("relu", torch.float32, micro_batch=micro_batch, resample_at=(0.5,))
        made.append(batch_gradients(sae, x, context(torch.float32), list(sae.parameters())))
    torch.testing.assert_close(made[1].token_losses, made[0].token_losses)
    reconstruction = made[0].terms.terms["reconstruction"]
    torch.testing.assert_close(made[0].token_losses.mean(), reconstruction)


def test_losses_without_an_error_per_token_cannot_be_resampled_by():
    sae = drawn("relu", torch.float32, resample_at=(0.5,))
    whole = sae.losses

    def without(x, context):
        terms, activity = whole(x, context)
        return replace(terms, error=None), activity

    sae.losses = without
    with pytest.raises(ValueError, match="'relu' gives no error per token"):
        batch_gradients(sae, TOY.sample(4, step=0), context(torch.float32), list(sae.parameters()))


@pytest.mark.parametrize("name", sorted(set(of_one_site()) - set(splitting)))
def test_what_needs_the_whole_batch_is_refused(name):
    with pytest.raises(ValidationError, match=r"cannot be processed in parts.*Remove micro_batch"):
        config(name, micro_batch=16)


def test_a_part_larger_than_the_batch_is_refused():
    with pytest.raises(ValidationError, match="micro_batch 65 is more than batch_size 64"):
        config("relu", micro_batch=65)
