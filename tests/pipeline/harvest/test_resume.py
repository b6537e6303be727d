"""A harvest that was interrupted, or found the disk full, ends in the same bytes."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from pipeline import atomic
from pipeline.errors import DiskFullError
from pipeline.harvest import fill as fill_module
from pipeline.harvest.fill import read_quality
from tests.pipeline.harvest.fake_model import (
    SITES,
    FakeForward,
    contents,
    fill,
    task_in,
)


def test_bytes_depend_neither_on_memory_nor_on_parts_nor_on_interruptions(tmp_path: Path) -> None:
    plain = task_in(tmp_path / "plain")
    fill(plain)
    expected = contents(tmp_path / "plain")
    generator = np.random.default_rng(0)
    for number in range(6):
        folder = tmp_path / str(number)
        part_seconds = 0.0 if number % 2 else 1e9
        for _ in range(4):
            forward = FakeForward()
            forward.fail_at = int(generator.integers(0, 30))
            some = [SITES[i] for i in generator.permutation(3)[: generator.integers(1, 4)]]
            with suppress(InterruptedError):
                fill(task_in(folder), some, forward, part_seconds=part_seconds)
        fill(task_in(folder), part_seconds=part_seconds)
        assert contents(folder) == expected


def test_a_harvest_resumes_at_its_last_part(tmp_path: Path) -> None:
    forward = FakeForward()
    forward.fail_at = 20
    with pytest.raises(InterruptedError):
        fill(task_in(tmp_path), SITES[:1], forward, part_seconds=0.0)
    rest = fill(task_in(tmp_path), SITES[:1], part_seconds=0.0)
    # 25 train batches; the first calls probe the width and calibrate.
    calibrating = 3
    assert len(rest.calls) == 25 - (20 - calibrating)


def test_a_resumed_harvest_keeps_the_batches_it_was_begun_with(tmp_path: Path) -> None:
    task_in(tmp_path, batch_rows=4)
    task = task_in(tmp_path, batch_rows=7)
    forward = fill(task)
    assert {size for size, _ in forward.calls} <= {128, 96, 32}


@pytest.mark.parametrize("nth", [0, 1, 3, 6, 9, 12, 15])
def test_a_full_disk_loses_nothing_and_the_next_run_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    plain = task_in(tmp_path / "plain")
    fill(plain)
    task, writes = task_in(tmp_path / "full"), []

    def full(path: Path, n_bytes: int) -> None:
        writes.append(path)
        if len(writes) > nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_reserve", full)
        with pytest.raises(DiskFullError, match="resumes"):
            fill(task, part_seconds=0.0)
    assert not list((tmp_path / "full").rglob("*.partial-*"))
    fill(task_in(tmp_path / "full"), part_seconds=0.0)
    assert contents(tmp_path / "full") == contents(tmp_path / "plain")


def test_a_resumed_harvest_is_compared_with_what_the_model_gave_before_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = FakeForward()
    stopped.fail_at = 20
    with pytest.raises(InterruptedError):
        fill(task_in(tmp_path), SITES[:1], stopped, part_seconds=0.0)
    parts = list((tmp_path / "parts").rglob("*.bin"))
    assert len(parts) > 10
    data = bytearray(parts[0].read_bytes())
    data[0::2] = bytes(value ^ 1 for value in data[0::2])
    parts[0].write_bytes(data)
    asked: list[int] = []
    compared = fill_module._mismatches
    monkeypatch.setattr(
        fill_module, "_mismatches", lambda *given: asked.append(len(given[2])) or compared(*given)
    )
    task = task_in(tmp_path)
    fill(task, SITES[:1], part_seconds=0.0)
    assert asked == [256]
    failed = [s.statistic for s in read_quality(task.folder, SITES[0]) if not s.passed]
    assert failed == ["probe_mismatches"]
