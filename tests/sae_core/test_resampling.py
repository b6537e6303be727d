from __future__ import annotations

from collections import Counter

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.functional import normalize

from sae_core.architectures import build, config_class
from sae_core.architectures.relu import ReluSae
from sae_core.initialise import initialise
from sae_core.optim import RowAdam
from sae_core.resampling import Resampler, resampling_phase
from sae_core.schedule import lr_factor
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

TOY = Superposition()
STATISTICS = statistics_of(TOY.sample(2048, step=10**6))


class GatedLike(ReluSae):
    """A ReLU SAE with one more parameter for each latent, which starts at −3."""

    latent_parameters = ("W_enc", "b_enc", "W_dec", "log_gain")

    def __init__(self, config, *, width: int) -> None:
        super().__init__(config, width=width)
        self.log_gain = nn.Parameter(torch.full((config.n_latents,), -3.0))


def config(**fields: object):
    settings = {"n_latents": 8, "tokens": 1000, "batch_size": 10} | fields
    return config_class("relu")(**settings)


def resampler_and_sae() -> tuple[Resampler, GatedLike, RowAdam]:
    """A resampler, and an SAE and moments that have moved away from their start."""
    sae = GatedLike(config(), width=32)
    initialise(sae, STATISTICS, seed=0)
    resampler, optimiser = Resampler(sae), RowAdam(sae)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for moved in (*sae.parameters(), *optimiser.mean, *optimiser.mean_square):
            moved.add_(torch.rand(moved.shape, generator=draws))
        sae.W_dec.copy_(sae.dictionary())
    return resampler, sae, optimiser


def test_inputs_are_drawn_by_the_square_of_their_loss_without_replacement():
    sae = build(config(n_latents=3), width=1)
    losses = torch.tensor([1.0, 2.0, 3.0, 4.0])
    first, pairs, n = Counter(), Counter(), 4000
    for seed in range(n):
        resampler = Resampler(sae)
        # In two steps: what was seen earlier is as likely as what comes later.
        resampler.collect(torch.tensor([[0.0], [1.0]]), losses[:2], seed=seed, step=0)
        resampler.collect(torch.tensor([[2.0], [3.0]]), losses[2:], seed=seed, step=1)
        drawn = [int(row) for row in resampler.rows]
        assert len(set(drawn)) == 3
        first[drawn[0]] += 1
        pairs[tuple(drawn[:2])] += 1
    weights = losses.square() / losses.square().sum()
    for i, p in enumerate(weights.tolist()):
        assert first[i] / n == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5)
        for j, q in enumerate(weights.tolist()):
            if i != j:
                both = p * q / (1 - p)
                deviation = 4 * (both * (1 - both) / n) ** 0.5
                assert pairs[i, j] / n == pytest.approx(both, abs=deviation)


def test_an_input_that_is_reconstructed_exactly_is_never_drawn():
    resampler, *_ = resampler_and_sae()
    resampler.collect(TOY.sample(6, step=0), torch.tensor([0.0, 1, 0, 1, 0, 0]), seed=0, step=0)
    assert int(resampler.keys.isfinite().sum()) == 2


def test_draws_are_keyed_by_seed_and_step():
    def drawn(seed: int, step: int) -> torch.Tensor:
        resampler = Resampler(build(config(), width=32))
        resampler.collect(TOY.sample(64, step=0), torch.ones(64), seed=seed, step=step)
        return resampler.rows

    torch.manual_seed(1)
    one = drawn(3, 7)
    torch.rand(9)
    assert torch.equal(one, drawn(3, 7))
    assert not torch.equal(one, drawn(3, 8))
    assert not torch.equal(one, drawn(4, 7))


def test_dead_latents_start_anew_and_the_others_keep_every_bit():
    resampler, sae, optimiser = resampler_and_sae()
    x = TOY.sample(64, step=0)
    resampler.collect(x, x.square().sum(1), seed=0, step=0)
    before = {name: p.detach().clone() for name, p in sae.named_parameters()}
    moments = [m.clone() for m in (*optimiser.mean, *optimiser.mean_square)]
    dead = torch.tensor([False, True, False, True, True, False, False, False])
    started = resampler.resample(sae, optimiser, dead)
    assert torch.equal(started, dead)
    directions = normalize(x - before["b_dec"])
    cosines = sae.W_dec.detach()[dead] @ directions.T
    torch.testing.assert_close(cosines.max(1).values, torch.ones(3))
    assert len(set(cosines.argmax(1).tolist())) == 3
    alive_norm = before["W_enc"][~dead].norm(dim=1).mean()
    torch.testing.assert_close(
        sae.W_enc.detach()[dead], 0.2 * alive_norm * sae.W_dec.detach()[dead]
    )
    assert (sae.b_enc[dead] == 0).all()
    assert (sae.log_gain[dead] == -3).all()
    for name, parameter in sae.named_parameters():
        kept = slice(None) if name == "b_dec" else ~dead
        assert torch.equal(parameter[kept], before[name][kept]), name
    names = optimiser.names * 2
    after = (*optimiser.mean, *optimiser.mean_square)
    for name, moment, old in zip(names, after, moments, strict=True):
        kept = slice(None) if name == "b_dec" else ~dead
        assert torch.equal(moment[kept], old[kept]), name
        assert name == "b_dec" or (moment[dead] == 0).all()
    assert int(resampler.total) == 3
    assert not resampler.keys.isfinite().any()


def test_dead_latents_without_a_candidate_stay():
    resampler, sae, optimiser = resampler_and_sae()
    resampler.collect(TOY.sample(2, step=0), torch.ones(2), seed=0, step=0)
    before = sae.W_enc.detach().clone()
    started = resampler.resample(sae, optimiser, torch.ones(8, dtype=torch.bool))
    assert started.tolist() == [True] * 2 + [False] * 6
    assert torch.equal(sae.W_enc[2:], before[2:])
    torch.testing.assert_close(
        sae.W_enc[:2].detach().norm(dim=1), 0.2 * before.norm(dim=1).mean().expand(2)
    )


def test_windows_end_at_the_stated_shares_and_do_not_overlap():
    settings = {"resample_at": (0.2, 0.3, 0.9), "resample_window_share": 0.15}
    phases = [resampling_phase(config(**settings), seen=s, n=10) for s in range(0, 1000, 10)]
    assert [i for i, (collecting, _) in enumerate(phases) if collecting] == [
        *range(5, 20),
        *range(20, 30),
        *range(75, 90),
    ]
    assert [i for i, (_, ending) in enumerate(phases) if ending] == [19, 29, 89]
    assert not any(map(any, (resampling_phase(config(), seen=s, n=10) for s in range(1000))))


def test_the_learning_rate_rises_again_after_each():
    settings = {"resample_at": (0.4, 0.6), "resample_warmup_share": 0.05, "warmup_share": 0.0}
    made = config(**settings, decay_share=0.0)
    factors = [lr_factor(made, seen=seen, n=10) for seen in range(0, 1000, 10)]
    rise = [0.2, 0.4, 0.6, 0.8, 1.0]
    assert factors == pytest.approx([1.0] * 40 + rise + [1.0] * 15 + rise + [1.0] * 35)


@pytest.mark.parametrize(
    ("name", "fields", "scale"),
    [
        ("relu", {"l1": 1.0}, 0.2),
        # Only the largest fire: rows of a fifth of the others' norm would stay dead.
        ("topk", {"k": 3, "auxk_weight": 0.0}, 1.0),
    ],
)
def test_it_brings_dead_latents_back(name, fields, scale):
    """Latents that cannot fire stay dead without resampling, and fire with it."""
    shares, counts = {}, {}
    for at in ((), (0.3, 0.6)):
        own = fields | ({"resample_at": at, "resample_encoder_scale": scale} if at else {})
        made = config_class(name)(n_latents=64, tokens=300 * 128, batch_size=128, lr=5e-3, **own)
        trainee = Trainee(made, name="a", statistics=STATISTICS, seed=0)
        with torch.no_grad():
            trainee.sae.b_enc[:32] = -1000.0
        for step in range(300):
            measured = trainee.step(TOY.sample(128, step=step))
        shares[at], counts[at] = float(measured["dead_share"]), measured.get("resampled")
    assert shares[()] >= 0.5
    assert shares[0.3, 0.6] < 0.1
    assert counts[()] is None
    assert counts[0.3, 0.6] >= 32


def test_after_a_divergence_nothing_starts_anew():
    made = config_class("topk")(n_latents=64, tokens=640, batch_size=64, k=3, resample_at=(0.5,))
    trainee = Trainee(made, name="a", statistics=STATISTICS, seed=0)
    for step in range(3):
        trainee.step(TOY.sample(64, step=step))
    trainee.step(TOY.sample(64, step=3) * torch.nan)
    before = trainee.state()
    for step in range(4, 10):
        trainee.step(TOY.sample(64, step=step))
    for name, tensor in trainee.state().items():
        if name.startswith(("sae.", "adam.", "since_fired")):
            assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resample_at": (0.5, 0.25)}, r"resample_at is \[0.5, 0.25\].*each larger"),
        ({"resample_at": (0.5, 0.5)}, "each larger than the one before"),
        ({"resample_at": (0.0,)}, "above 0 and below"),
        ({"resample_at": (1.0,)}, "above 0 and below"),
        ({"resample_warmup_share": 0.1}, "nothing is resampled"),
        (
            {"resample_at": (0.25,), "dead_window_share": 0.4},
            r"before any latent can.*400 tokens. Allowed: from 0.4 on. Start later",
        ),
        ({"resample_at": (0.5,), "resample_window_share": 0.0}, "greater than 0"),
    ],
)
def test_impossible_resampling_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        config(**fields)
