"""A training run to be killed, in a process of its own that a test starts.

Writes are slowed so that a kill at a random time often falls into one; a kill can also be planted
at the n-th write, where no clock decides: when half of the new file is there, between its flush and
its rename, or right after that.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from pipeline import atomic
from pipeline.study.registry import Cell
from pipeline.training.group import CheckpointInterval
from pipeline.training.run import train_cells
from sae_core.architectures import config_class
from tests.pipeline.training.scene import ToyStore, cell, install, workspace_at

STEPS = 24
PAUSE = 0.003


class Planted(NamedTuple):
    """The process kills itself at its n-th write, the first being 1."""

    place: Literal["half", "rename", "renamed"]
    write: int


def killed_cell(architecture: str) -> Cell:
    """A recipe in which all state counts that the architecture has: averaged, resampled, and so
    sparse that latents die within its few steps."""
    known = config_class(architecture)
    sparse = {"k": 1, "l1": 30.0, "sparsity": 30.0}
    fields = {name: value for name, value in sparse.items() if name in known.model_fields}
    if not known.no_resampling:
        fields["resample_at"] = (0.4, 0.7)
    return cell(architecture, steps=STEPS, lr=0.03, ema_share=0.5, dead_window_share=0.2, **fields)


def train_slowly(
    folder: Path, architecture: str, begins: Connection, planted: Planted | None = None
) -> None:
    """Trains one SAE, checkpointing at every step; says through `begins` when that starts."""
    torch.set_num_threads(1)
    install(setattr, ToyStore())
    replaced = os.replace
    left = planted.write if planted else 0

    def pause(place: str) -> None:
        time.sleep(PAUSE)
        if planted and place == planted.place and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def flush(path: Path, real: Callable[[Path], None] = atomic.flush) -> None:
        nonlocal left
        if path.is_file():
            left -= 1
            if planted and planted.place == "half" and left == 0:
                os.truncate(path, path.stat().st_size // 2)
            pause("half")
        real(path)

    def replace(source: Path, target: Path) -> None:
        pause("rename")
        replaced(source, target)
        pause("renamed")

    atomic.flush, os.replace = flush, replace
    begins.send("begins")
    interval = CheckpointInterval(seconds=0.0, cost_factor=0.0)
    train_cells(workspace_at(folder), [killed_cell(architecture)], interval=interval)
