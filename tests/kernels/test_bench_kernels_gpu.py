"""The GPU benchmark, as far as it can be seen without one: what it launches, and its refusal."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sae_kernels.dispatch import using
from sae_kernels.launch import recorded

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("bench", FOLDER / "bench_kernels_gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launched(run) -> set[str]:
    with using("fused"), recorded() as launches:
        run()
    return {launch.kernel.__name__ for launch in launches}


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is for Linux alone")
def test_every_timed_operation_launches_kernels_and_the_step_launches_all_it_needs(bench):
    one = bench.layer(768, 24576, 32, "meta")
    for name, work in {**bench.kernels(one), "matching": bench.matching("meta")}.items():
        assert launched(work.run), name
    assert launched(bench.step(one)) == {
        "_product",
        "_largest",
        "_mend",
        "_segment_sums",
        "forward",
        "backward",
        "add_segments",
        "_step",
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_without_a_device_it_says_so_and_measures_nothing():
    found = subprocess.run(
        [sys.executable, FOLDER / "bench_kernels_gpu.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "torch finds none here" in found.stdout
