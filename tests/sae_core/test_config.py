from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from sae_core.architectures import build, config_class, names


def topk(**fields: object):
    return config_class("topk")(**({"n_latents": 64, "tokens": 1000, "k": 4} | fields))


def test_names_and_configurations_are_found_without_torch():
    code = (
        "import sys; from sae_core.architectures import names; import sae_core.config;"
        "assert {'relu', 'topk', 'batch_topk'} <= set(names()); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_architecture_names_the_nearest():
    with pytest.raises(ValueError, match=r"'topkk' is not an architecture. .*Did you mean 'topk'"):
        config_class("topkk")


@pytest.mark.parametrize("name", names())
def test_every_field_is_described_and_documented(name):
    config = config_class(name)
    for field, info in config.model_fields.items():
        assert info.description, field
    assert config.model_fields["architecture"].default == name
    module = sys.modules[config.__module__]
    for part in ("Idea:", "Formula:", "Reference:", "Ours differs:"):
        assert part in module.__doc__


@pytest.mark.parametrize("name", ["topk", "batch_topk"])
def test_more_active_than_existing_latents_are_refused(name):
    with pytest.raises(
        ValidationError, match=r"k = 65 .*Allowed: k from 1 to 64. Lower k or raise"
    ):
        config_class(name)(n_latents=64, tokens=1000, k=65)
    assert config_class(name)(n_latents=64, tokens=1000, k=64).k == 64


@pytest.mark.parametrize(
    "fields",
    [
        {"k": 0},
        {"n_latents": 0},
        {"tokens": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"clip": -1.0},
        {"beta2": 1.0},
        {"learning_rate": 1.0},
        {"architecture": "relu"},
        {"bias_init": "median"},
    ],
)
def test_impossible_fields_are_refused(fields):
    with pytest.raises(ValidationError):
        topk(**fields)


@pytest.mark.parametrize(
    ("architecture", "fields", "said"),
    [
        ("topk", {"k": 4, "resample_encoder_scale": 1.0}, "nothing is resampled. Allowed: 0.2"),
        ("topk", {"k": 4, "resample_warmup_share": 0.1}, "nothing is resampled. Allowed: 0.0"),
        ("topk", {"k": 4, "clip": None, "clip_by": "global"}, "nothing is clipped. Allowed: 'row'"),
        ("matryoshka", {"k": 4, "n_prefixes": 3}, "prefixes is 'groups'. Allowed: 10"),
        ("relu", {"lp_floor": 0.1}, "p is 1, .* Allowed: 0.01"),
        ("end_to_end", {"later_weight": 2.0}, "no later_sites are named. Allowed: 1.0"),
    ],
)
def test_a_setting_that_would_change_nothing_is_refused(architecture, fields, said):
    config = config_class(architecture)
    (idle,) = [name for name in fields if name not in ("k", "clip")]
    with pytest.raises(ValidationError, match=f"{idle} .* changes nothing: {said}.*Remove {idle}"):
        config(n_latents=64, tokens=1000, **fields)
    default = config.model_fields[idle].default
    config(n_latents=64, tokens=1000, **(fields | {idle: default}))


@pytest.mark.parametrize("name", names())
def test_what_may_be_idle_is_a_field_with_a_default(name):
    fields = config_class(name).model_fields
    for field in made_with_defaults(name).idle_settings:
        assert not fields[field].is_required()


def made_with_defaults(name):
    needed = {
        "k": 4,
        "write_site": "mlp_out",
        "sites": ("resid_pre.0", "resid_pre.1"),
        "dictionary": "topk.s0",
    }
    own = config_class(name).model_fields
    given = {field: value for field, value in needed.items() if field in own}
    return config_class(name)(n_latents=64, tokens=1000, **given)


def test_overlapping_phases_are_refused():
    with pytest.raises(ValidationError, match="overlap"):
        topk(warmup_share=0.6, decay_share=0.6)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError):
        topk().k = 5


def test_the_dead_window_is_the_smaller_of_share_and_tokens():
    assert topk(tokens=500_000).dead_window == 50_000
    assert topk(tokens=10**9).dead_window == 10_000_000
    assert topk(tokens=5).dead_window == 1


def test_the_default_learning_rate_falls_with_the_number_of_latents():
    assert topk(n_latents=2**14).learning_rate == pytest.approx(2e-4)
    assert topk(n_latents=2**10).learning_rate == pytest.approx(8e-4)
    assert topk(lr=0.5).learning_rate == 0.5


def test_a_built_sae_has_the_configured_shapes():
    sae = build(topk(), width=8)
    shapes = {name: tuple(p.shape) for name, p in sae.named_parameters()}
    assert shapes == {"W_enc": (64, 8), "b_enc": (64,), "W_dec": (64, 8), "b_dec": (8,)}
