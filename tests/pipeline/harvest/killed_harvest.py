"""A harvest in a process of its own, for tests that kill it: folder, part seconds, slowness."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from pipeline.harvest.forward import Take, TextRows
from pipeline.study.names import Site
from tests.pipeline.harvest.fake_model import FakeForward, fill, task_in


class Slow(FakeForward):
    """Takes a while for every batch."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def __call__(self, text: TextRows, sites: Sequence[Site], take: Take) -> None:
        time.sleep(self._seconds)
        super().__call__(text, sites, take)


if __name__ == "__main__":
    folder, part_seconds, slowness = sys.argv[1:]
    torch.set_num_threads(1)
    print("started", flush=True)
    task = task_in(Path(folder))
    fill(task, forward=Slow(float(slowness)), part_seconds=float(part_seconds))
    print("complete", flush=True)
