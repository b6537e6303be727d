"""What a TopK step may cost, counted, not timed."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sae_core.architectures import config_class
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

N_TOKENS, N_LATENTS = 64, 512
TOY = Superposition()


class _Wide(TorchDispatchMode):
    """Counts operations by name whose result has n x f entries or more."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.numel() >= N_TOKENS * N_LATENTS:
            self.names.append(func.overloadpacket.__name__)
        return out


def test_a_step_makes_all_pre_activations_once_and_nothing_else_of_that_size():
    config = config_class("topk")(n_latents=N_LATENTS, tokens=10**6, k=4)
    statistics = statistics_of(TOY.sample(512, step=0))
    trainee = Trainee(config, name="a", statistics=statistics, seed=0)
    x = TOY.sample(N_TOKENS, step=1)
    with _Wide() as wide:
        trainee.step(x)
    views = {"slice", "view", "t", "detach", "alias"}
    assert [name for name in wide.names if name not in views] == ["new_empty", "addmm"]
