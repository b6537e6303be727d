"""Damage is found, named and mended to the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.errors import StoreError
from pipeline.harvest.damage import find_damage
from pipeline.harvest.forward import Forward
from pipeline.harvest.mend import MendResult, mend_source, site_manifest
from pipeline.harvest.task import StoreTask
from pipeline.study.names import Site
from tests.pipeline.harvest.fake_model import (
    SITES,
    FakeForward,
    Reports,
    contents,
    fill,
    opened,
    task_in,
)

SITE = SITES[1]
TRAIN = f"store.zarr/train/{SITE}/c"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def mended(
    task: StoreTask, forward: FakeForward | None = None, report: Reports | None = None
) -> tuple[MendResult, FakeForward]:
    forward = forward or FakeForward()

    def load() -> Forward:
        return forward

    return mend_source(task, task.source(SITE), load, report=report or Reports()), forward


@pytest.mark.parametrize("spoil", [flip, cut, Path.unlink])
@pytest.mark.parametrize(
    ("file", "name"),
    [
        (f"{TRAIN}/3/0", f"shard 3 of train/{SITE}"),
        (f"{TRAIN}/6/0", f"shard 6 of train/{SITE}"),
        (f"store.zarr/calibration/{SITE}/c/0/0", f"shard 0 of calibration/{SITE}"),
        (f"store.zarr/mask/{SITE}/c/2", f"shard 2 of mask/{SITE}"),
        ("store.zarr/origin/c/1", "shard 1 of origin"),
        (f"manifests/{SITE}.statistics.safetensors", "the statistics"),
    ],
)
def test_what_is_damaged_is_rewritten_byte_equal_and_nothing_else(
    tmp_path: Path, spoil: Callable[[Path], None], file: str, name: str
) -> None:
    task = task_in(tmp_path)
    fill(task)
    before = contents(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    spoil(tmp_path / file)
    with pytest.raises(StoreError):
        opened(task, SITE).verify()
    result, _ = mended(task)
    assert result.damaged == [name]
    assert contents(tmp_path) == before
    changed = {path for path, at in times.items() if path.stat().st_mtime_ns != at}
    assert changed == {tmp_path / file}
    opened(task, SITE).verify()


def test_several_shards_are_mended_in_one_pass(tmp_path: Path) -> None:
    task = task_in(tmp_path)
    fill(task)
    before = contents(tmp_path)
    for number in (0, 2, 5):
        flip(tmp_path / TRAIN / str(number) / "0")
    (tmp_path / "store.zarr/mask" / str(SITE) / "c/2").unlink()
    result, forward = mended(task)
    assert len(result.damaged) == 4
    assert len(forward.calls) == 25
    assert contents(tmp_path) == before


def test_the_pass_is_no_longer_than_the_damage_needs(tmp_path: Path) -> None:
    task = task_in(tmp_path, shuffle="none")
    fill(task)
    flip(tmp_path / TRAIN / "3" / "0")
    result, forward = mended(task)
    # 512 rows are 16 or 17 packed rows and a bit for special tokens: at most 6 batches of 4.
    assert 4 <= len(forward.calls) <= 6
    assert result.tokens_run == sum(size for size, _ in forward.calls)


def test_the_cost_is_said_before_the_model_runs(tmp_path: Path) -> None:
    task = task_in(tmp_path)
    fill(task)
    flip(tmp_path / TRAIN / "0" / "0")
    reports, forward = Reports(), FakeForward()
    forward.fail_at = 0
    with pytest.raises(InterruptedError):
        mended(task, forward, reports)
    assert reports.all[0].total == 3200
    assert "model runs over 3,200 tokens again" in reports.all[0].note


def test_nothing_runs_where_nothing_is_damaged(tmp_path: Path) -> None:
    task = task_in(tmp_path)
    fill(task)
    result, forward = mended(task)
    assert (result.damaged, result.tokens_run, forward.calls) == ([], 0, [])


def test_masks_and_origins_need_no_language_model(tmp_path: Path) -> None:
    task = task_in(tmp_path)
    fill(task)
    flip(tmp_path / "store.zarr/origin/c/0")
    flip(tmp_path / "store.zarr/mask" / str(SITE) / "c/0")
    damage = find_damage(task, site_manifest(task, task.source(SITE)))
    assert (damage.tokens, damage.origin, damage.mask) == (0, [0], [0])
    assert not mended(task)[1].calls


def test_a_model_that_computes_otherwise_is_noticed(tmp_path: Path) -> None:
    class Other(FakeForward):
        def values(self, ids: torch.Tensor, site: Site) -> torch.Tensor:
            return super().values(ids, site) + 0.5

    task = task_in(tmp_path)
    fill(task)
    flip(tmp_path / TRAIN / "0" / "0")
    with pytest.raises(StoreError, match=f"Shard 0 of train/{SITE} was made again, but the bytes"):
        mended(task, Other())


def test_an_incomplete_source_is_not_mended(tmp_path: Path) -> None:
    task = task_in(tmp_path)
    with pytest.raises(StoreError, match="not complete"):
        mended(task)
