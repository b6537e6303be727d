"""No training step makes the host wait for the device, walked through without one.

On the `meta` device tensors have shapes and no values: whatever depends on a value, and so would
wait for it, raises. Operations run the host code of their fused forms; launches are only listed.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from sae_kernels import dispatch
from sae_kernels.launch import recorded
from torch.utils._python_dispatch import TorchDispatchMode

from sae_core.active_latents import ActiveLatentsConfig
from sae_core.architectures import config_class, names
from sae_core.config import SaeConfig
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

pytest.importorskip("triton")

_spec = importlib.util.spec_from_file_location(
    "waiting_brute_force", Path(__file__).parent / "brute_force" / "__init__.py"
)
brute_force = importlib.util.module_from_spec(_spec)
sys.modules["waiting_brute_force"] = brute_force
_spec.loader.exec_module(brute_force)
JUDGES = brute_force.judges()

TOY = Superposition(n_features=48, width=32, density=0.04)
STEPS = 8
# Latents can be dead from the third step on; resampling has windows and ends them.
DEAD = {"dead_window_tokens": 128, "dead_window_share": 0.2}
RESAMPLING = {"resample_at": (0.4, 0.8), "resample_window_share": 0.2, "resample_warmup_share": 0.1}
CLIP = {"clip_by": "global"}
METHODS = {
    "loss scale, average": {"loss_scale": "token_variance", "ema_share": 0.25} | CLIP,
    "resampling": RESAMPLING,
    "k anneal": {"k_start_multiple": 2.0, "k_anneal_share": 0.5},
    "parts": {"micro_batch": 24},
    "bfloat16": {"compute": "bfloat16"},
}


def config_of(name: str, fields: dict[str, object]) -> SaeConfig | None:
    """A small configuration; None where the architecture refuses the settings."""
    settings = {"n_latents": 48, "tokens": STEPS * 64, "batch_size": 64} | JUDGES[name].SETTINGS
    if "k_anneal_share" in fields and not issubclass(config_class(name), ActiveLatentsConfig):
        return None
    try:
        return config_class(name)(**(settings | DEAD | fields))
    except ValueError:
        return None


CASES = [
    (name, fields)
    for name in names()
    for fields in (*getattr(JUDGES[name], "VARIANTS", [{}]), *METHODS.values())
    if config_of(name, fields)
]


class NoWaiting(TorchDispatchMode):
    """Refuses copies between devices that the host would wait for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in ("_to_copy", "copy_"):
            target = kwargs.get("device", args[0].device)
            source = args[-1].device
            waits = torch.device(target or source).type != source.type
            free = kwargs.get("non_blocking", False) or args[-1].ndim == 0
            if waits and not free:
                raise RuntimeError(f"{name} waits for the device")
        return func(*args, **kwargs)


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch):
    monkeypatch.setitem(dispatch.MADE_FOR, "meta", "fused")


def trainee(name: str, config: SaeConfig) -> Trainee:
    """One on the device without values."""
    judge, toy_inputs = JUDGES[name], brute_force.toy_inputs
    rows = [view.sample(256, step=10**6) for view in toy_inputs.views(judge, TOY)]
    first, *further = map(statistics_of, rows)
    model = toy_inputs.language_model(judge)
    if model is not None:
        model.to_logits, model.to_later = model.to_logits.to("meta"), model.to_later.to("meta")
    return Trainee(
        config,
        name="a",
        statistics=first,
        further=further,
        language_model=model,
        seed=0,
        init_rows=torch.cat(rows, 1),
        device="meta",
    )


def walk(one: Trainee, name: str) -> None:
    """All steps of a training run."""
    x = brute_force.toy_inputs.sample(JUDGES[name], TOY, 64, step=0).to("meta")
    with recorded(), NoWaiting():
        for _ in range(STEPS):
            measured = one.step(x)
    assert one.done
    assert all(torch.as_tensor(value).numel() == 1 for value in measured.values())


@pytest.mark.parametrize(("name", "fields"), CASES)
def test_no_training_step_waits_for_the_device(name, fields):
    one = trainee(name, config_of(name, fields))
    if config_class(name).waits_in_steps is None:
        walk(one, name)
    else:
        with pytest.raises((RuntimeError, NotImplementedError)):
            walk(one, name)


def test_those_that_wait_are_few():
    waiting = {name for name in names() if config_class(name).waits_in_steps}
    assert waiting == {"switch"}


WAITS = {
    "float": lambda x: float(x[0]),
    "bool": lambda x: bool(x.any()),
    "tolist": torch.Tensor.tolist,
    "nonzero": torch.nonzero,
    "mask": lambda x: x[x > 0],
}


@pytest.mark.parametrize("name", WAITS)
def test_a_planted_wait_is_found(name):
    with pytest.raises((RuntimeError, NotImplementedError)):
        WAITS[name](torch.ones(3, device="meta"))


def test_a_planted_copy_is_found():
    with NoWaiting(), pytest.raises(RuntimeError, match="_to_copy waits"):
        torch.ones(3).to("meta")
