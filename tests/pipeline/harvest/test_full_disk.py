"""Harvesting onto a disk that really is full, where this process may mount one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import DiskFullError
from pipeline.harvest.run import harvest, harvest_state
from pipeline.study.names import Source
from pipeline.workspace import Workspace
from tests.pipeline.harvest.fake_model import SITES, contents, fill, opened, task_in
from tests.pipeline.harvest.test_run import SITES as REAL_SITES
from tests.pipeline.harvest.test_run import TRAINED, model, texts


@pytest.mark.parametrize(
    ("size", "where"), [("192k", "parts/"), ("816k", r"store\.zarr/(train|mask)/")]
)
def test_what_was_read_is_kept_and_the_rest_is_read_when_there_is_space_again(
    disk: Callable[[str], Path], tmp_path: Path, size: str, where: str
) -> None:
    folder = disk(size) / "store"
    with pytest.raises(DiskFullError, match=where):
        fill(task_in(folder), part_seconds=0.0)
    assert not list(folder.rglob("*.partial-*"))
    kept = {path.name for path in folder.glob("parts/*/*.bin")}
    assert kept
    disk("16m")
    resumed = fill(task_in(folder), part_seconds=0.0)
    whole = fill(task_in(tmp_path / "whole"))
    assert sum(size for size, _ in resumed.calls) < sum(size for size, _ in whole.calls)
    for site in SITES:
        opened(task_in(folder), site).verify()
    assert contents(folder) == contents(tmp_path / "whole")


def test_the_same_command_goes_on_when_there_is_space_again(
    disk: Callable[[str], Path], tmp_path: Path
) -> None:
    texts(tmp_path / "texts")
    config, source = model(tmp_path), Source("pylm", TRAINED, REAL_SITES[0])
    workspace = Workspace.open(disk("1m") / "workspace")
    with pytest.raises(DiskFullError, match="the same command then resumes"):
        harvest(workspace, "pylm", config, TRAINED, REAL_SITES)
    assert harvest_state(workspace, "pylm", config, source) == "partial"
    disk("32m")
    broken = harvest(workspace, "pylm", config, TRAINED, REAL_SITES)
    assert harvest_state(workspace, "pylm", config, source) == "done"
    whole = harvest(Workspace.open(tmp_path / "whole"), "pylm", config, TRAINED, REAL_SITES)
    for one, other in zip(broken, whole, strict=True):
        assert one.source_hash == other.source_hash
    assert contents(broken[0].store_path) == contents(whole[0].store_path)
