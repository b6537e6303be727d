from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sae_core.architectures import build, config_class, names
from sae_core.initialise import _size_ratio, initialise
from sae_core.toy import Superposition, statistics_of


def of_one_site() -> list[str]:
    """The architectures whose batches are activations of their source alone."""
    return [name for name in names() if config_class(name).inputs == "source"]


X = Superposition(offset=5.0).sample(4096, step=0)
STATISTICS = statistics_of(X)
# Of architectures whose codes are not homogeneous: thresholds do not grow with the encoder.
SIZE_TOLERANCE = {"jumprelu": 3e-3, "jumprelu_kde": 3e-3}


def started(name: str = "topk", *, seed: int = 0, init_rows=None, **fields: object):
    k = {"k": 2} if "k" in config_class(name).model_fields else {}
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


def test_an_independent_encoder_shares_nothing_with_the_decoder():
    sae = started(encoder_init="independent")
    assert torch.equal(sae.W_dec, started().W_dec)
    torch.testing.assert_close(sae.W_enc.norm(dim=1), torch.ones(64))
    cosines = (sae.W_enc * sae.W_dec).detach().sum(1)
    assert cosines.mean().abs() < 3 / (64 * 32) ** 0.5
    assert torch.equal(sae.W_enc, started(encoder_init="independent").W_enc)
    assert not torch.equal(sae.W_enc, started(encoder_init="independent", seed=1).W_enc)


@pytest.mark.parametrize("encoder", ["transpose", "independent"])
@pytest.mark.parametrize("name", of_one_site())
def test_a_calibrated_start_reconstructs_at_the_size_of_its_input(name, encoder):
    sae = started(name, encoder_scale="calibrated", encoder_init=encoder, init_rows=X)
    before = {key: value.clone() for key, value in sae.state_dict().items()}
    sae.calibrate([X])
    code = sae.encode(X)
    bias = sae.reconstruct(X, code._replace(values=torch.zeros_like(code.values)))
    ratio = ((sae(X) - bias).square().sum() / (X - bias).square().sum()).detach()
    assert float(ratio) == pytest.approx(1, abs=SIZE_TOLERANCE.get(name, 1e-3))
    fixed = started(name, encoder_init=encoder)
    torch.testing.assert_close(before["W_dec"], fixed.W_dec.detach())
    directions = torch.nn.functional.normalize(before["W_enc"])
    torch.testing.assert_close(directions, torch.nn.functional.normalize(fixed.W_enc.detach()))


def test_calibration_leaves_no_trace_but_the_encoders_size():
    sae = started("batch_topk", encoder_scale="calibrated", init_rows=X)
    assert sae.threshold.isnan()


def test_calibrating_needs_rows_and_something_to_scale():
    with pytest.raises(ValueError, match="'calibrated' got no rows"):
        started(encoder_scale="calibrated")
    sae = build(config_class("topk")(n_latents=64, tokens=10, k=2), width=32)
    with pytest.raises(ValueError, match="all reconstructions are 0 at the start"):
        _size_ratio(sae, X)


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, 0),
        ({"dictionary_init": "data"}, 128),
        ({"encoder_scale": "calibrated"}, 4096),
        ({"dictionary_init": "data", "encoder_scale": "calibrated"}, 4096),
    ],
)
def test_a_configuration_says_how_many_rows_its_start_needs(fields, rows):
    assert config_class("topk")(n_latents=64, tokens=10, k=2, **fields).init_rows == rows
