from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sae_core.architectures import build, config_class
from sae_core.initialise import initialise
from sae_core.toy import Superposition, statistics_of

X = Superposition(offset=5.0).sample(4096, step=0)
STATISTICS = statistics_of(X)


def started(name: str = "topk", *, seed: int = 0, init_rows=None, **fields: object):
    k = {} if name == "relu" else {"k": 2}
    sae = build(config_class(name)(n_latents=64, tokens=10, **k, **fields), width=32)
    initialise(sae, STATISTICS, seed=seed, init_rows=init_rows)
    return sae


def test_scaled_activations_have_mean_square_norm_d():
    norms = started().scaled(X).square().sum(1)
    assert float(norms.mean()) == pytest.approx(32, rel=1e-4)


def test_the_encoder_is_the_decoders_transpose_and_rows_are_unit():
    sae = started()
    assert torch.equal(sae.W_enc, sae.W_dec)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(64))


def test_relu_starts_at_the_size_of_its_input():
    sae = started("relu")
    centred = sae.centred(X)
    with torch.no_grad():
        guess = (centred @ sae.W_enc.T).relu() @ sae.W_dec
    ratio = guess.square().sum() / centred.square().sum()
    assert 0.5 < ratio < 3


@pytest.mark.parametrize("start", ["mean", "geometric_median", "zero"])
def test_the_bias_starts_where_the_configuration_says(start):
    sae = started(bias_init=start)
    centre = torch.zeros(32) if start == "zero" else getattr(STATISTICS, start).float()
    torch.testing.assert_close(sae.b_dec.detach() / sae.input_scale, centre)


def test_draws_depend_on_the_seed_alone():
    torch.manual_seed(1)
    one = started(seed=4)
    torch.manual_seed(2)
    torch.rand(5)
    assert torch.equal(one.W_dec, started(seed=4).W_dec)
    assert not torch.equal(one.W_dec, started(seed=5).W_dec)


def test_data_rows_become_directions():
    sae = started(dictionary_init="data", init_rows=X[:100])
    centred = torch.nn.functional.normalize(sae.centred(X[:100])).detach()
    assert ((sae.W_dec.detach() @ centred.T).max(1).values > 1 - 1e-5).all()


def test_too_few_data_rows_are_refused():
    with pytest.raises(ValueError, match="10 rows for 64 latents"):
        started(dictionary_init="data", init_rows=X[:10])
    with pytest.raises(ValueError, match="0 rows for 64 latents"):
        started(dictionary_init="data")


def test_activations_that_never_change_are_refused():
    sae = started()
    with pytest.raises(ValueError, match="choose another site"):
        initialise(sae, replace(STATISTICS, total_variance=0.0), seed=0)


def test_statistics_of_another_width_are_refused():
    sae = build(config_class("topk")(n_latents=64, tokens=10, k=2), width=16)
    with pytest.raises(ValueError, match="width 32"):
        initialise(sae, STATISTICS, seed=0)
