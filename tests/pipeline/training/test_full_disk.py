"""Training on a disk that really is full, where this process may mount one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import DiskFullError
from pipeline.training.group import CheckpointInterval
from pipeline.training.run import train_cells, training_state
from pipeline.workspace import Workspace
from tests.pipeline.training.scene import ToyStore, cell

ALWAYS = CheckpointInterval(seconds=0.0, cost_factor=0.0)


def test_the_command_resumes_when_there_is_space_again(
    disk: Callable[[str], Path], store: ToyStore, tmp_path: Path
) -> None:
    wanted = cell()
    place = disk("256k")
    workspace = Workspace.open(place / "workspace")
    ballast = place / "ballast"

    def fill(number: int) -> None:
        if number == 5:
            free = os.statvfs(place)
            ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - 8192))

    store._on_batch = fill
    with pytest.raises(DiskFullError, match=r"checkpoint\.safetensors"):
        train_cells(workspace, [wanted], interval=ALWAYS)
    assert training_state(workspace, wanted) == "partial"
    assert not list(workspace.saes.rglob("*.partial-*"))
    ballast.unlink()
    store._on_batch = lambda number: None
    disk("16m")
    (result,) = train_cells(workspace, [wanted])
    assert store.opened[-1] == 5
    (whole,) = train_cells(Workspace.open(tmp_path / "whole"), [wanted])
    name = "sae.safetensors"
    assert (result.path / name).read_bytes() == (whole.path / name).read_bytes()
