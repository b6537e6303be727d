"""kill -9 at any moment: the next harvest finishes with the same bytes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.store.manifest import SiteManifest, read_manifest
from tests.pipeline.harvest.fake_model import SITES, contents, fill, opened, task_in

ROOT = Path(__file__).parents[3]


def run_for(folder: Path, seconds: float | None) -> bool:
    """Whether a harvest in another process completed before it was killed."""
    command = [sys.executable, "-m", "tests.pipeline.harvest.killed_harvest"]
    process = subprocess.Popen(
        [*command, str(folder), "0.02", "0.03"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        if seconds is not None:
            time.sleep(seconds)
            process.kill()
        return "complete" in process.stdout.read()


def killed_until_complete(folder: Path, *, kills: int, seed: int) -> int:
    generator = np.random.default_rng(seed)
    killed = 0
    for _ in range(kills):
        if run_for(folder, float(generator.uniform(0, 0.7))):
            break
        killed += 1
        for site in SITES:
            # What says it is complete is complete.
            manifest = read_manifest(SiteManifest, folder / "manifests" / f"{site}.json")
            if manifest is not None:
                opened(task_in(folder), site).verify()
    assert run_for(folder, None)
    return killed


def check(tmp_path: Path, *, kills: int, rounds: int) -> None:
    plain = task_in(tmp_path / "plain")
    fill(plain)
    expected, killed = contents(tmp_path / "plain"), 0
    for number in range(rounds):
        folder = tmp_path / str(number)
        killed += killed_until_complete(folder, kills=kills, seed=number)
        assert contents(folder) == expected
    assert killed > 0


def test_a_killed_harvest_resumes_with_the_same_bytes(tmp_path: Path) -> None:
    check(tmp_path, kills=2, rounds=1)


@pytest.mark.long
def test_harvests_killed_many_times_end_with_the_same_bytes(tmp_path: Path) -> None:
    check(tmp_path, kills=6, rounds=2)
