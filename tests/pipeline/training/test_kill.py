"""kill -9 at uniformly random times, also inside a checkpoint's write and its rename."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.training.checkpoint import read_checkpoint, state_digest
from pipeline.training.identity import identify
from pipeline.training.record import SAE_FILE
from pipeline.training.run import train_cells
from pipeline.workspace import Workspace
from tests.pipeline.training.killed_run import STEPS
from tests.pipeline.training.scene import ARCHITECTURES, ToyStore, cell, workspace_at

KILLS = 20
LONGEST = 0.8


def bits(workspace: Workspace) -> dict[str, tuple[str, bytes]]:
    """Optimiser state and weights of every architecture's finished SAE."""
    found = {}
    for architecture in ARCHITECTURES:
        run = identify(workspace, cell(architecture, steps=STEPS))
        checkpoint = read_checkpoint(run.folder, run.sae_hash)
        assert checkpoint is not None
        found[architecture] = (
            state_digest(checkpoint.state),
            (run.folder / SAE_FILE).read_bytes(),
        )
    return found


def begun(folder: Path) -> subprocess.Popen[str]:
    """A process that has begun to train."""
    command = [sys.executable, "-m", "tests.pipeline.training.killed_run", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    return process


@pytest.mark.long
def test_twenty_kills_of_each_architecture_end_in_the_same_bits(
    tmp_path: Path, store: ToyStore
) -> None:
    whole = workspace_at(tmp_path / "whole")
    train_cells(whole, [cell(architecture, steps=STEPS) for architecture in ARCHITECTURES])
    expected = bits(whole)
    draws = random.Random(0)
    kills, inside_a_write, rounds = 0, 0, 0
    while kills < KILLS:
        folder = tmp_path / f"round-{rounds}"
        rounds += 1
        while True:
            with begun(folder) as process:
                # All three train in this process, so that each kill is one of each.
                time.sleep(draws.uniform(0, LONGEST))
                ended = process.poll() is not None
                process.send_signal(signal.SIGKILL)
            if ended:
                assert process.returncode == 0
                break
            kills += 1
            inside_a_write += any(folder.rglob("*.partial-*"))
            if kills >= KILLS:
                assert subprocess.run(process.args, check=False).returncode == 0
                break
        assert bits(workspace_at(folder)) == expected
    assert inside_a_write > 0
    print(f"{kills} kills of each architecture, {inside_a_write} inside a write, {rounds} runs")
