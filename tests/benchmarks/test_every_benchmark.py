"""Benchmarks run through at a small size: what they import may change. No time is judged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SMALL = {
    "evaluation": "--tokens 2048 --latents 64 --k 4 --rounds 1",
    "kernels_gpu": "",
    "latents_sql": "--latents 100 --rounds 1",
    "match_dictionaries": "--latents 512 --again",
    "max_cosine": "--latents 512 --rounds 1",
    "reader": "--shards 1 --rounds 1 --save",
    "together": "--saes 1 2 --latents 64 --steps 1 --rounds 1",
    "topk_step": "--shapes small --allocators default --clocks cpu --rounds 1",
}
NO_SMALL_SIZE = {"capture", "encode", "harvest", "nested_decode", "peers"}


def test_every_benchmark_is_known_here() -> None:
    names = {path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py")}
    assert names == set(SMALL) | NO_SMALL_SIZE


@pytest.mark.long
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs_through_and_keeps_its_figures(name: str, tmp_path: Path) -> None:
    results = FOLDER / "results"
    before = {path: path.stat().st_mtime_ns for path in results.iterdir()}
    run = subprocess.run(
        [sys.executable, FOLDER / f"bench_{name}.py", *SMALL[name].split()],
        env=os.environ | {"SAE_BENCHMARK_RESULTS": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert {path: path.stat().st_mtime_ns for path in results.iterdir()} == before
    written = list(tmp_path.glob("*.json"))
    if name == "kernels_gpu" and not written:
        assert "torch finds none here" in run.stdout
    else:
        assert len(written) == 1
