"""`sae` that tells each stage as it begins: `python -m tests.pipeline.told_study ARGUMENTS`.

Checkpoints and parts are written all the time, and writes are slowed, so that a kill often falls
into one. Everything else is the command as it stands.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from pipeline import atomic
from pipeline.cli import display
from pipeline.cli.app import main
from pipeline.harvest import fill
from pipeline.progress import Progress, Report
from pipeline.training import group

PAUSE = 0.004


class Told:
    """Prints `STAGE SECONDS` when a stage begins; SECONDS of a clock that never runs back."""

    def __init__(self) -> None:
        self._stage = ""

    def __call__(self, progress: Progress) -> None:
        if progress.stage != self._stage:
            self._stage = progress.stage
            print(self._stage, f"{time.monotonic():.3f}", flush=True)


def slow(call: Callable[..., object]) -> Callable[..., object]:
    """The same call with a pause before and after it."""

    def slowed(*arguments: object) -> object:
        time.sleep(PAUSE)
        result = call(*arguments)
        time.sleep(PAUSE)
        return result

    return slowed


@contextmanager
def shown() -> Iterator[Report]:
    """In place of the progress on the terminal."""
    yield Told()


if __name__ == "__main__":
    torch.set_num_threads(1)
    display.shown = shown
    fill.fill_store = partial(fill.fill_store, part_seconds=0.02)
    group.CheckpointInterval = partial(group.CheckpointInterval, seconds=0.02, cost_factor=0.0)
    atomic.flush = slow(atomic.flush)
    os.replace = slow(os.replace)
    main(sys.argv[1:])
