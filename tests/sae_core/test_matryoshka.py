from __future__ import annotations

import pytest
import torch

from sae_core.architectures import build, config_class
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee
from sae_core.training_context import TrainingContext

TOY = Superposition(n_features=48, width=32)
STATISTICS = statistics_of(TOY.sample(2048, step=10**6))


def config(**fields: object):
    return config_class("matryoshka")(**({"n_latents": 64, "tokens": 64 * 8, "k": 3} | fields))


def context(step: int = 0, seed: int = 0) -> TrainingContext:
    return TrainingContext(0.5, 0, torch.zeros(64).long(), 100, 30.0, seed=seed, step=step)


def an_sae(**fields: object):
    trainee = Trainee(config(auxk_weight=0.0, **fields), name="a", statistics=STATISTICS, seed=0)
    return trainee.sae.double()


def test_all_prefixes_are_what_sampled_ones_are_on_average():
    x = TOY.sample(16, step=0).double()
    exact = an_sae(prefixes="all", n_prefixes=4).losses(x, context())[0].total
    sampled = an_sae(prefixes="sampled", n_prefixes=4)
    totals = torch.stack([sampled.losses(x, context(step))[0].total for step in range(800)])
    error = totals.std() / len(totals) ** 0.5
    assert totals.std() > 0.01 * exact
    assert abs(totals.mean() - exact) < 3.5 * error


def test_sampled_prefixes_depend_on_seed_and_step_alone():
    x = TOY.sample(16, step=0).double()
    sae = an_sae(prefixes="sampled")
    totals = [
        float(sae.losses(x, context(step, seed))[0].total.detach())
        for seed, step in ((0, 0), (0, 1), (1, 0), (0, 0))
    ]
    assert totals[0] == totals[3]
    assert len(set(totals)) == 3


@pytest.mark.parametrize("cut", [1, 5])
def test_sampled_prefixes_are_resumed_bit_for_bit(cut):
    def trainee(seed: int) -> Trainee:
        settings = config(prefixes="sampled", lr=1e-2)
        return Trainee(settings, name="a", statistics=STATISTICS, seed=seed)

    whole, first, resumed = trainee(3), trainee(3), trainee(4)
    for step in range(8):
        whole.step(TOY.sample(64, step=step))
    for step in range(cut):
        first.step(TOY.sample(64, step=step))
    resumed.load_state(first.state())
    for step in range(cut, 8):
        resumed.step(TOY.sample(64, step=step))
    assert torch.equal(whole.sae.W_dec, resumed.sae.W_dec)
    assert torch.equal(whole.sae.W_enc, resumed.sae.W_enc)


def test_one_group_is_batch_topk_with_the_same_gradients():
    x = TOY.sample(32, step=1)
    gradients = []
    for name, fields in (("matryoshka", {"group_sizes": (64,)}), ("batch_topk", {})):
        settings = config_class(name)(n_latents=64, tokens=512, k=3, auxk_weight=0.0, **fields)
        sae = Trainee(settings, name="a", statistics=STATISTICS, seed=0).sae.double()
        terms, _ = sae.losses(x.double(), context())
        gradients.append(torch.autograd.grad(terms.total, sae.parameters()))
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-11, atol=1e-12)


def test_the_first_group_reconstructs_better_than_the_same_latents_trained_without_it():
    """The property that prefixes are for: the first quarter of the dictionary alone."""
    left = {}
    for name, fields in (
        ("matryoshka", {"group_shares": (0.25, 0.75)}),
        ("batch_topk", {}),
    ):
        settings = config_class(name)(
            n_latents=64, tokens=200 * 128, batch_size=128, k=3, lr=1e-2, **fields
        )
        trainee = Trainee(settings, name=name, statistics=STATISTICS, seed=0)
        for step in range(200):
            trainee.step(TOY.sample(128, step=step))
        x = TOY.sample(1024, step=9999)
        trainee.sae.calibrate([x])
        dense = trainee.sae.encode(x).dense()
        x_hat = dense[:, :16] @ trainee.sae.W_dec[:16] + trainee.sae.b_dec / trainee.sae.input_scale
        left[name] = float((x - x_hat).detach().square().sum())
    assert left["matryoshka"] < 0.95 * left["batch_topk"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"group_sizes": (10, 20)}, r"end at \(10, 30\) of 64"),
        ({"group_sizes": (64, 0)}, "at least one latent"),
        ({"group_shares": (0.5, 0.4)}, "shares to 1"),
        ({"group_shares": (0.001, 0.999)}, "at least one latent"),
        ({"group_shares": (1.0,), "group_sizes": (64,)}, "both given"),
        ({"group_sizes": (64,), "prefixes": "all"}, "prefixes 'groups' alone"),
        ({"prefixes": "all", "combine": "sum"}, "Allowed with prefixes 'all': 'mean'"),
        ({"n_latents": 1, "k": 1}, "greater than or equal to 2"),
        ({"length_power": -0.5}, "greater than or equal to 0"),
    ],
)
def test_prefixes_that_do_not_fit_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        config(**fields)


def test_a_configuration_written_out_in_full_is_read_again():
    for fields in ({}, {"group_sizes": (4, 60)}, {"prefixes": "all"}, {"prefixes": "sampled"}):
        settings = config(**fields)
        assert config_class("matryoshka")(**settings.model_dump(mode="json")) == settings
        assert build(settings, width=8).config == settings
