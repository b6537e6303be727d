"""Harvest and evaluation in parts: what several processes make is what one makes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.launch.config import LaunchConfig
from pipeline.workspace import Workspace
from tests.pipeline.launch.worlds import (
    KILL,
    made,
    make_and_die,
    metrics,
    store_bytes,
    tokens_run_here,
)

pytestmark = pytest.mark.long
TWO = LaunchConfig(engine="torchrun", ranks=2)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("here")
    return made(folder / "workspace", folder / "texts", LaunchConfig())


@pytest.fixture(autouse=True)
def dying(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    flag = tmp_path / "killed"
    monkeypatch.setenv(KILL, str(flag))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("pipeline.harvest.spans.make_span", make_and_die)
    return flag


def assert_same(ours: Workspace, here: Workspace) -> None:
    assert tokens_run_here(ours) == {0}
    assert 0 not in tokens_run_here(here)
    assert len(store_bytes(here)) > 10
    assert store_bytes(ours) == store_bytes(here)
    assert len(metrics(here)) > 20
    assert metrics(ours) == metrics(here)


def test_ranks_of_which_one_is_killed_make_the_same_store_and_metrics(
    tmp_path: Path, here: Workspace, dying: Path
) -> None:
    ours = made(tmp_path / "workspace", here.root.parent / "texts", TWO)
    assert dying.exists()
    assert_same(ours, here)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not there")
def test_tasks_on_two_nodes_of_which_a_worker_is_killed_make_the_same(
    tmp_path: Path, here: Workspace, dying: Path
) -> None:
    command = [sys.executable, "-m", "tests.pipeline.launch.on_ray"]
    done = subprocess.run(
        [*command, str(tmp_path / "workspace"), str(here.root.parent / "texts")],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert dying.exists()
    assert_same(Workspace.open(tmp_path / "workspace"), here)
