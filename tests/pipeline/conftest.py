"""A small study that was run once for all tests, and a disk that really is small."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.study.config import Study
from pipeline.workspace import Workspace
from tests.pipeline.small_world import small_world

Resize = Callable[[str], Path]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Study]:
    """A workspace in which a study was run, and the study. Tests leave its results as they are."""
    return small_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Resize]:
    """A function that gives a disk in memory of a size, such as 256k; called again, it resizes."""
    place = tmp_path / "disk"

    def mounted(size: str) -> Path:
        if place.exists():
            subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)
            return place
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("this machine does not let a test mount a disk")
        return place

    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    yield mounted
    if place.is_mount():
        subprocess.run(["umount", place], check=True)
