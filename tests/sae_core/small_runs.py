"""Small trainees of any architecture, what they are trained on, and how their states compare."""

from __future__ import annotations

import torch

from sae_core.architectures import config_class
from sae_core.config import SaeConfig
from sae_core.engine import TrainReport, train
from sae_core.toy import Superposition
from sae_core.trainee import Trainee
from tests.sae_core import brute_force
from tests.sae_core.brute_force import toy_inputs

JUDGES = brute_force.judges()
TOY = Superposition(n_features=48, width=32, density=0.04)


def config_of(name: str, **fields: object) -> SaeConfig:
    shared = {"n_latents": 48, "tokens": 12 * 64, "batch_size": 64, "lr": 1e-2}
    settings = shared | JUDGES[name].SETTINGS
    return config_class(name)(**(settings | fields))


def views(name: str) -> list[Superposition]:
    return toy_inputs.views(JUDGES[name], TOY)


def sample(name: str, n: int, *, step: int) -> torch.Tensor:
    return toy_inputs.sample(JUDGES[name], TOY, n, step=step)


def trainee_of(
    name: str, *, seed: int = 0, called: str = "a", unit: float = 1.0, **fields: object
) -> Trainee:
    made = config_of(name, **fields)
    return toy_inputs.trainee(JUDGES[name], TOY, made, name=called, seed=seed, unit=unit)


def batches(name: str, start: int = 0, n: int = 64):
    step = start
    while True:
        yield sample(name, n, step=step)
        step += 1


def run(name: str, trainees: list[Trainee], *, report_every: int = 5) -> list[TrainReport]:
    stream = batches(name, trainees[0].step_count)
    return list(train(trainees, stream, report_every=report_every))


def same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(bits(a[name]) == bits(b[name]) for name in a)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()
