"""What holds for every training method with every architecture that knows it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from sae_core.active_latents import ActiveLatentsConfig
from sae_core.architectures import config_class, names
from sae_core.checkpoint import restore_trainee, trainee_to_bytes
from sae_core.config import SaeConfig
from sae_core.engine import train
from sae_core.toy import Superposition
from sae_core.trainee import Trainee

_spec = importlib.util.spec_from_file_location(
    "methods_brute_force", Path(__file__).parent / "brute_force" / "__init__.py"
)
brute_force = importlib.util.module_from_spec(_spec)
sys.modules["methods_brute_force"] = brute_force
_spec.loader.exec_module(brute_force)
JUDGES = brute_force.judges()

TOY = Superposition(n_features=48, width=32, density=0.04)
STEPS = 12

# Dead latents, resampled twice, once with candidates of several steps.
RESAMPLING = {"resample_at": (0.3, 0.7), "resample_window_share": 0.2, "dead_window_tokens": 128}
WHOLE = {"loss_scale": "token_variance", "ema_share": 0.25, "encoder_init": "independent"}
METHODS = {
    "loss scale, average, start": WHOLE | {"encoder_scale": "calibrated"},
    "resampling": WHOLE | RESAMPLING | {"resample_warmup_share": 0.1},
    "k anneal": {"k_start_multiple": 2.0, "k_anneal_share": 0.5},
    "parts": {"micro_batch": 24, "dead_window_tokens": 128},
    "bfloat16": {"compute": "bfloat16"},
}


def config_of(name: str, method: str) -> SaeConfig:
    shared = {"n_latents": 48, "tokens": STEPS * 64, "batch_size": 64, "lr": 1e-2}
    settings = shared | JUDGES[name].SETTINGS | METHODS[method]
    return config_class(name)(**settings)


def knows(name: str, method: str) -> bool:
    """Whether an architecture's configuration accepts a method; a refusal says why."""
    if method == "k anneal" and not issubclass(config_class(name), ActiveLatentsConfig):
        return False
    try:
        config_of(name, method)
    except ValidationError as error:
        if "Allowed:" not in str(error):
            raise
        return False
    return True


PAIRS = [(name, method) for name in names() for method in METHODS if knows(name, method)]
each_pair = pytest.mark.parametrize(("name", "method"), PAIRS)


def trainee_of(name: str, method: str, *, called: str = "a", seed: int = 0) -> Trainee:
    made, inputs = config_of(name, method), brute_force.toy_inputs
    trainee = inputs.trainee(JUDGES[name], TOY, made, name=called, seed=seed)
    with torch.no_grad():
        trainee.sae.b_enc[:8] -= 1000.0  # dead ones
    return trainee


def batches(name: str, start: int = 0):
    while True:
        yield brute_force.toy_inputs.sample(JUDGES[name], TOY, 64, step=start)
        start += 1


def same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    def bits(tensor: torch.Tensor) -> bytes:
        return tensor.contiguous().numpy().tobytes()

    return a.keys() == b.keys() and all(bits(a[name]) == bits(b[name]) for name in a)


@each_pair
def test_resumed_equals_uninterrupted_bit_for_bit(name, method):
    whole, first, resumed = (trainee_of(name, method, seed=seed) for seed in (0, 0, 1))
    for report in train([whole], batches(name), report_every=1):
        assert all(torch.as_tensor(v).isfinite() for v in report.metrics["a"].values())
    # The third step is in a resampling's window, which ends with the fourth.
    next(train([first], batches(name), report_every=3))
    restore_trainee(resumed, trainee_to_bytes(first))
    list(train([resumed], batches(name, 3), report_every=5))
    assert same_bits(whole.state(), resumed.state())
    assert same_bits(dict(whole.result().state_dict()), dict(resumed.result().state_dict()))


@pytest.mark.parametrize("n_sites", [1, 2])
def test_together_equals_alone_bit_for_bit(n_sites):
    def sites(name: str) -> int:
        return len(brute_force.toy_inputs.views(JUDGES[name], TOY))

    pairs = [(name, method) for name, method in PAIRS if sites(name) == n_sites]
    name = pairs[0][0]

    def group() -> list[Trainee]:
        return [trainee_of(*pair, called=" ".join(pair)) for pair in pairs]

    together = group()
    list(train(together, batches(name), report_every=5))
    for trainee, fresh in zip(together, group(), strict=True):
        list(train([fresh], batches(name), report_every=5))
        assert same_bits(trainee.state(), fresh.state()), trainee.name


@pytest.mark.parametrize("name", names())
def test_resampling_starts_dead_latents_anew_in_every_architecture_that_knows_it(name):
    if not knows(name, "resampling"):
        assert config_class(name).no_resampling
        return
    trainee = trainee_of(name, "resampling")
    list(train([trainee], batches(name), report_every=5))
    assert int(trainee.resampler.total) >= 8
    # Biases of a thousand below are gone: Adam alone would have needed 10⁵ steps.
    assert (trainee.sae.b_enc > -900).all()
