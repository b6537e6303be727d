"""SAEs that read or write several sites."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sae_core.architectures import build, config_class
from sae_core.checkpoint import sae_from_bytes, sae_to_bytes
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

READ = Superposition(width=24)
WRITTEN = replace(READ, width=40, view=1)
TRANSCODERS = ("transcoder", "skip_transcoder")


def batch(n: int, *, step: int, unit: float = 1.0) -> torch.Tensor:
    return torch.cat([READ.sample(n, step=step), unit * WRITTEN.sample(n, step=step)], 1)


def trainee(architecture: str, *, unit: float = 1.0, **fields: object) -> Trainee:
    settings = {"n_latents": 64, "tokens": 640, "batch_size": 64, "k": 3, "write_site": "mlp_out"}
    config = config_class(architecture)(**(settings | fields))
    read, written = READ.sample(2048, step=10**6), unit * WRITTEN.sample(2048, step=10**6)
    return Trainee(
        config,
        name="a",
        statistics=statistics_of(read),
        further=[statistics_of(written)],
        seed=0,
    )


@pytest.mark.parametrize("architecture", TRANSCODERS)
def test_sites_of_different_widths_train_and_survive_a_file(architecture):
    one = trainee(architecture)
    for step in range(3):
        one.step(batch(64, step=step))
    loaded = sae_from_bytes(sae_to_bytes(one.sae))
    assert loaded.widths == (24, 40)
    assert (loaded.width, list(loaded.reads), list(loaded.writes)) == (40, [0], [1])
    x = READ.sample(8, step=9)
    assert torch.equal(loaded(x), one.sae(x))
    assert loaded(x).shape == (8, 40)
    assert loaded.dictionary().shape == (64, 40)


@pytest.mark.parametrize("architecture", TRANSCODERS)
def test_the_output_of_the_start_is_the_centre_of_what_is_written(architecture):
    one = trainee(architecture, bias_init="mean", k=1)
    with torch.no_grad():
        one.sae.b_enc.fill_(-100.0)
    mean = WRITTEN.sample(2048, step=10**6).mean(0)
    torch.testing.assert_close(one.sae(READ.sample(8, step=0)), mean.expand(8, 40))


@pytest.mark.parametrize("architecture", TRANSCODERS)
def test_fvu_is_that_of_what_is_written(architecture):
    one = trainee(architecture)
    x = batch(64, step=0)
    with torch.no_grad():
        error = (x[:, 24:] - one.sae(x)).square().sum(1).mean()
    variance = statistics_of(WRITTEN.sample(2048, step=10**6)).total_variance
    assert float(one.step(x)["fvu"]) == pytest.approx(float(error) / variance, rel=1e-4)


@pytest.mark.parametrize("architecture", TRANSCODERS)
def test_units_of_what_is_written_scale_the_output_alone(architecture):
    plain, large = trainee(architecture), trainee(architecture, unit=256.0)
    for step in range(4):
        plain.step(batch(64, step=step))
        large.step(batch(64, step=step, unit=256.0))
    x = READ.sample(16, step=99)
    torch.testing.assert_close(large.sae(x), 256 * plain.sae(x), rtol=1e-3, atol=1e-1)


@pytest.mark.parametrize("architecture", TRANSCODERS)
def test_latents_start_as_often_positive_as_negative(architecture):
    sae = trainee(architecture).sae
    z = sae.scaled(READ.sample(2048, step=1)) @ sae.W_enc.T + sae.b_enc
    assert float(z.detach().mean(0).abs().max()) < 0.2


def test_a_linear_map_is_the_skip_alone():
    """y = M x: the skip learns what the latents of a transcoder would have to share out."""
    matrix = torch.randn(24, 40, generator=torch.Generator().manual_seed(0))

    def linear_batch(step: int) -> torch.Tensor:
        x = torch.randn(256, 24, generator=torch.Generator().manual_seed(step))
        return torch.cat([x, x @ matrix], 1)

    rows = linear_batch(10**6)
    fields = {"n_latents": 64, "tokens": 200 * 256, "batch_size": 256, "k": 2, "lr": 1e-2}
    found = {}
    for architecture in TRANSCODERS:
        one = Trainee(
            config_class(architecture)(**fields, write_site="mlp_out"),
            name="a",
            statistics=statistics_of(rows[:, :24]),
            further=[statistics_of(rows[:, 24:])],
            seed=0,
        )
        found[architecture] = [one.step(linear_batch(step))["fvu"] for step in range(200)][-1]
    assert found["skip_transcoder"] < 0.02 < 0.2 < found["transcoder"]


def test_rows_of_what_is_written_can_be_the_first_directions():
    fields = {"n_latents": 8, "dictionary_init": "data", "bias_init": "mean"}
    settings = {"tokens": 64, "k": 3, "write_site": "mlp_out"} | fields
    rows = batch(8, step=0)
    one = Trainee(
        config_class("transcoder")(**settings),
        name="a",
        statistics=statistics_of(READ.sample(512, step=1)),
        further=[statistics_of(WRITTEN.sample(512, step=1))],
        init_rows=rows,
        seed=0,
    )
    centred = rows[:, 24:] - WRITTEN.sample(512, step=1).mean(0)
    cosine = torch.nn.functional.normalize(centred) @ one.sae.W_dec.detach().T
    assert (cosine.amax(1) > 0.999).all()


def test_widths_that_do_not_fit_the_architecture_are_refused():
    topk = config_class("topk")(n_latents=8, tokens=10, k=2)
    with pytest.raises(ValueError, match="topk was given further sites"):
        build(topk, width=4, further=(4,))
    transcoder = config_class("transcoder")(n_latents=8, tokens=10, k=2, write_site="mlp_out")
    with pytest.raises(ValueError, match="Pass the widths"):
        build(transcoder, width=4)
