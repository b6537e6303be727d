from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from sae_core.architectures import config_class
from sae_core.threshold_start import shared_out
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

TOY = Superposition()
STATISTICS = statistics_of(TOY.sample(2048, step=10**6))


def configured(name: str = "jumprelu", **fields: object):
    return config_class(name)(**({"n_latents": 64, "tokens": 100 * 256, "lr": 1e-2} | fields))


def trained(name: str = "jumprelu", *, steps: int, **fields: object) -> Trainee:
    config = configured(name, **({"tokens": steps * 256} | fields))
    rows = TOY.sample(4096, step=10**6)
    trainee = Trainee(config, name="a", statistics=STATISTICS, seed=0, init_rows=rows)
    for step in range(steps):
        trainee.step(TOY.sample(256, step=step))
    return trainee


def test_tanh_brings_its_papers_settings_and_leaves_what_is_given():
    config = configured(penalty="tanh", bandwidth=1.0)
    assert (config.threshold_init, config.bandwidth, config.dead_weight) == (0.1, 1.0, 3e-6)
    assert config.jump_to_encoder
    assert config.sparsity_warmup_share == 1
    assert configured().bandwidth == 0.05
    assert not configured().jump_to_encoder


def test_a_recorded_configuration_reads_back_as_itself():
    config = configured(penalty="tanh")
    assert configured(**config.model_dump()) == config


@pytest.mark.parametrize("name", ["jumprelu", "jumprelu_kde"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target_l0": 4.0}, "Remove target_l0, or choose that penalty"),
        ({"penalty": "target_l0"}, "Set target_l0 to the wanted"),
        ({"penalty": "target_l0", "target_l0": 65.0}, "at most n_latents = 64"),
        ({"penalty": "target_l0", "target_l0": 4.0, "micro_batch": 16}, "Remove micro_batch"),
    ],
)
def test_a_target_that_does_not_belong_is_refused(name, fields, message):
    with pytest.raises(ValidationError, match=message):
        configured(name, **fields)


def test_a_scale_of_tanh_without_tanh_is_refused():
    assert configured(penalty="tanh").tanh_scale == 4
    with pytest.raises(ValidationError, match="Remove tanh_scale"):
        configured(tanh_scale=2.0)


@pytest.mark.parametrize("name", ["jumprelu", "jumprelu_kde"])
def test_a_target_l0_is_met(name):
    trainee = trained(name, steps=300, penalty="target_l0", target_l0=5.0, sparsity=10.0)
    x = TOY.sample(2048, step=10**5)
    assert float(trainee.sae.encode(x).fired.sum(1).float().mean()) == pytest.approx(5, rel=0.2)


@pytest.mark.parametrize("name", ["jumprelu", "jumprelu_kde"])
def test_thresholds_start_where_every_latent_fires_on_its_share(name):
    rows = TOY.sample(4096, step=10**6)
    for fields in ({}, {"encoder_scale": "calibrated"}):
        sae = trained(name, steps=0, tokens=256, penalty="target_l0", target_l0=4.0, **fields).sae
        fires = sae.encode(rows).dense().gt(0).sum(0)
        assert (fires == 4096 * 4 / 64).all()


@pytest.mark.parametrize("name", ["jumprelu", "jumprelu_kde"])
def test_a_stated_start_and_penalties_without_a_target_need_no_rows(name):
    for fields in ({}, {"penalty": "target_l0", "target_l0": 4.0, "threshold_init": 0.3}):
        config = configured(name, **fields)
        assert config.init_rows == 0
        sae = Trainee(config, name="a", statistics=STATISTICS, seed=0).sae
        assert (sae.threshold == (config.threshold_init or 0.05)).all()
    config = configured(name, penalty="target_l0", target_l0=4.0)
    with pytest.raises(ValueError, match="Pass init_rows, or set threshold_init"):
        Trainee(config, name="a", statistics=STATISTICS, seed=0)


def test_a_latent_that_is_seldom_positive_starts_at_zero():
    sae = trained(steps=0, tokens=256, penalty="target_l0", target_l0=4.0).sae
    rows = TOY.sample(512, step=10**6)
    with torch.no_grad():
        sae.b_enc[3] = -1000.0
    found = shared_out(sae, rows, 4.0)
    assert found[3] == 0
    assert (found[:3] > 0).all()


def test_a_batch_in_parts_is_remembered_as_a_whole_one():
    """Compared at one start: in training a rounding can carry a token across a threshold."""
    whole, parts = (
        trained("jumprelu_kde", steps=1, bandwidth=0.2, memory_tokens=1024, **fields)
        for fields in ({}, {"micro_batch": 100})
    )
    assert float(whole.sae.memory_weight) == 0.25
    for name, tensor in whole.sae.named_buffers():
        torch.testing.assert_close(dict(parts.sae.named_buffers())[name], tensor, msg=name)


@pytest.mark.parametrize("name", ["jumprelu", "jumprelu_kde"])
def test_thresholds_never_fall_below_zero_and_small_ones_can_grow(name):
    """As log θ a threshold of 1e-6 would need hundreds of steps of 1e-2 to reach 0.05."""
    falling = trained(name, steps=30, sparsity=0.0, threshold_init=1e-3, bandwidth=0.1)
    assert (falling.sae.threshold >= 0).all()
    growing = trained(name, steps=30, sparsity=5.0, threshold_init=1e-6, bandwidth=0.1)
    assert growing.sae.threshold.median() > 0.05
    assert growing.sae.threshold.dtype == torch.float32


def test_dead_latents_are_pulled_towards_their_thresholds():
    trainee = trained(steps=60, dead_weight=0.1, dead_window_tokens=256)
    sae = trainee.sae
    with torch.no_grad():
        sae.b_enc[7] = -30.0
    trainee.since_fired[7] = 10**6
    x = TOY.sample(256, step=99)
    terms, activity = sae.losses(x, trainee._context())
    assert not activity.fired[7]
    bias, theta, decoder = torch.autograd.grad(terms.total, (sae.b_enc, sae.threshold, sae.W_dec))
    assert float(bias[7]) == pytest.approx(-0.1, rel=1e-4)
    assert float(theta[7]) == pytest.approx(0.1, rel=1e-4)
    assert (decoder[7] == 0).all()
