"""A training run to be killed: `python -m tests.pipeline.training.killed_run FOLDER`.

Writes are slowed so that a kill often falls into one: before and after flushing, and around the
rename. Prints a line when training begins.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline import atomic
from pipeline.training.group import CheckpointInterval
from pipeline.training.run import train_cells
from tests.pipeline.training.scene import ARCHITECTURES, ToyStore, cell, install, workspace_at

STEPS = 60
PAUSE = 0.004


def slow(call: Callable[..., object]) -> Callable[..., object]:
    """The same call with a pause before and after it."""

    def slowed(*arguments: object) -> object:
        time.sleep(PAUSE)
        result = call(*arguments)
        time.sleep(PAUSE)
        return result

    return slowed


def main(folder: Path) -> None:
    """Trains three SAEs, one of each architecture, checkpointing at every step."""
    torch.set_num_threads(1)
    store = ToyStore()
    install(setattr, store)
    atomic.flush = slow(atomic.flush)
    os.replace = slow(os.replace)
    print("begins", flush=True)
    cells = [cell(architecture, steps=STEPS) for architecture in ARCHITECTURES]
    interval = CheckpointInterval(seconds=0.0, cost_factor=0.0)
    train_cells(workspace_at(folder), cells, interval=interval)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
