"""Training on a disk that really is full, where this process may mount one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import DiskFullError
from pipeline.training.group import CheckpointInterval
from pipeline.training.run import train_cells, training_state
from pipeline.workspace import Workspace
from tests.pipeline.training.scene import ToyStore, cell

ALWAYS = CheckpointInterval(seconds=0.0, cost_factor=0.0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True
    )
    if made.returncode:
        pytest.skip("this machine does not let a test mount a disk")
    yield place
    subprocess.run(["umount", place], check=True)


def test_the_command_resumes_when_there_is_space_again(
    disk: Path, store: ToyStore, tmp_path: Path
) -> None:
    wanted = cell()
    workspace = Workspace.open(disk / "workspace")
    ballast = disk / "ballast"

    def fill(number: int) -> None:
        if number == 5:
            free = os.statvfs(disk)
            ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - 8192))

    store._on_batch = fill
    with pytest.raises(DiskFullError, match=r"checkpoint\.safetensors"):
        train_cells(workspace, [wanted], interval=ALWAYS)
    assert training_state(workspace, wanted) == "partial"
    assert not list(workspace.saes.rglob("*.partial-*"))
    ballast.unlink()
    store._on_batch = lambda number: None
    subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
    (result,) = train_cells(workspace, [wanted])
    assert store.opened[-1] == 5
    (whole,) = train_cells(Workspace.open(tmp_path / "whole"), [wanted])
    name = "sae.safetensors"
    assert (result.path / name).read_bytes() == (whole.path / name).read_bytes()
