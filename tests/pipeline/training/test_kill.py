"""kill -9 of every architecture: at uniformly random times, and inside a write and its rename."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from pipeline.training.checkpoint import read_checkpoint, state_digest
from pipeline.training.identity import identify
from pipeline.training.record import SAE_FILE
from pipeline.workspace import Workspace
from sae_core.architectures import names
from tests.pipeline.training.killed_run import Planted, killed_cell, train_slowly
from tests.pipeline.training.scene import ToyStore, workspace_at

KILLS = {"relu": 20, "topk": 20, "batch_topk": 20}  # where each part of the engine is used
FEW = 5
# Forked from a process that has torch loaded, since 15 starts of it would cost more than training.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.pipeline.training.killed_run"])


def begun(folder: Path, architecture: str, planted: Planted | None = None) -> BaseProcess:
    """A process that has begun to train."""
    tells, begins = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=train_slowly, args=(folder, architecture, begins, planted))
    process.start()
    assert tells.recv() == "begins"
    return process


def ended(process: BaseProcess) -> int | None:
    """How the process ended: 0, or minus the signal."""
    process.join()
    return process.exitcode


def bits(workspace: Workspace, architecture: str) -> tuple[str, bytes]:
    """Optimiser state and weights of a finished SAE."""
    run = identify(workspace, killed_cell(architecture))
    checkpoint = read_checkpoint(run.folder, run.sae_hash)
    assert checkpoint is not None
    return state_digest(checkpoint.state), (run.folder / SAE_FILE).read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("architecture", names())
def test_kills_at_random_times_and_inside_writes_end_in_the_same_bits(
    tmp_path: Path, store: ToyStore, architecture: str
) -> None:
    draws = random.Random(architecture)
    start = time.monotonic()
    assert ended(begun(tmp_path / "whole", architecture)) == 0
    longest = time.monotonic() - start
    expected = bits(workspace_at(tmp_path / "whole"), architecture)

    inside = tmp_path / "inside"
    for place in ("half", "rename", "renamed"):
        planted = Planted(place, draws.randint(2, 7))
        assert ended(begun(inside, architecture, planted)) == -signal.SIGKILL
    assert ended(begun(inside, architecture)) == 0
    assert bits(workspace_at(inside), architecture) == expected

    wanted, kills, rounds = KILLS.get(architecture, FEW), 0, 0
    while kills < wanted:
        folder = tmp_path / f"round-{rounds}"
        rounds += 1
        finished = False
        while not finished:
            process = begun(folder, architecture)
            if kills < wanted:
                time.sleep(draws.uniform(0, longest))
                process.kill()
            finished = ended(process) == 0
            kills += not finished
        assert bits(workspace_at(folder), architecture) == expected
