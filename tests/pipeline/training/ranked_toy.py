"""A rank that trains on toy activations; it can kill itself once, at a planted batch."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from pipeline.errors import StoreError
from pipeline.launch.torchrun import JobFolder
from pipeline.training import on_ranks
from tests.pipeline.training.scene import ToyStore, install

KILL = "KILLED_RANK"  # RANK:BATCH:FILE, the file being made when it happens
REFUSE = "REFUSING_BATCH"  # a batch that cannot be read


def on_batch(number: int) -> None:
    """Dies or refuses where it was told to."""
    if KILL in os.environ:
        rank, batch, file = os.environ[KILL].split(":", 2)
        first_time = not Path(file).exists()
        if first_time and rank == os.environ["RANK"] and int(batch) == number:
            Path(file).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get(REFUSE) == str(number):
        raise StoreError(f"batch {number} is damaged. Harvest it again.")


if __name__ == "__main__":
    torch.set_num_threads(1)
    install(setattr, ToyStore(on_batch))
    on_ranks.main(JobFolder(Path(sys.argv[1])))
