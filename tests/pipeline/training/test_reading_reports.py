"""A report's numbers are read from the device in one go."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.training.group import read_at_once


class Reads(TorchDispatchMode):
    """Tensors that are stacked, and numbers that are read one by one."""

    stacked, single = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.stacked += name == "stack"
        self.single += name == "_local_scalar_dense"
        return func(*args, **(kwargs or {}))


def test_all_numbers_of_all_trainees_are_read_together_and_unchanged() -> None:
    metrics = {
        "a": {"loss": torch.tensor(0.1), "lr": 0.3, "resampled": torch.tensor(7)},
        "b": {"loss": torch.tensor(float("nan")), "lr": 1e-3},
        "c": {},
    }
    with Reads() as reads:
        found = read_at_once(metrics)
    assert (reads.stacked, reads.single) == (1, 0)
    assert found["a"] == {"loss": float(torch.tensor(0.1)), "lr": 0.3, "resampled": 7.0}
    assert found["b"]["loss"] != found["b"]["loss"]
    assert (found["b"]["lr"], found["c"]) == (1e-3, {})
    assert read_at_once({"a": {"lr": 1.0}}) == {"a": {"lr": 1.0}}
