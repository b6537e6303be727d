"""Every kernel that an operation selects compiles for two generations of GPUs, without a GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sae_kernels.dispatch import forms

from tests.kernels.ahead_of_time import SHARED_LIMIT, STEPS
from tests.kernels.every_kernel import TESTED, inputs_of

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is for Linux alone"
)
FUSED = [op for op in TESTED if "fused" in forms(op)]
# Triton 3.9 makes syntax trees in a way that Python 3.13 warns of and 3.15 will refuse.
TOLERATED = "ignore:AnnAssign.__init__ missing:DeprecationWarning"
QUICK = ("sparse_decode", "nested_decode_loss", "fvu")


def reports(ops: list[str], capability: int, cache: Path) -> list[dict]:
    """The assembler's reports, from a process in which Triton compiles instead of interpreting."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    program = ["-W", "error", "-W", TOLERATED, "-m", "tests.kernels.ahead_of_time"]
    done = subprocess.run(
        [sys.executable, *program, str(capability), *ops],
        env=environment | {"TRITON_CACHE_DIR": str(cache)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_fits(found: list[dict], ops: list[str]) -> None:
    """Nothing spills, shared memory suffices, and every operation has launched something."""
    assert {report["op"] for report in found} == set(ops)
    spilled = [report for report in found if report["spilled_bytes"]]
    assert not spilled, spilled
    too_large = [r for r in found if r["shared_bytes"] > SHARED_LIMIT[r["capability"]]]
    assert not too_large, too_large
    assert all(0 < report["registers"] <= 255 and report["cubin_bytes"] for report in found)


def test_every_fused_operation_says_at_which_sizes_it_is_compiled():
    assert FUSED
    assert not [op for op in FUSED if not getattr(inputs_of(op), "COMPILED", ())]


def test_some_kernels_compile_without_spills(tmp_path):
    assert_fits(reports(list(QUICK), 90, tmp_path), list(QUICK))


@pytest.mark.long
def test_every_kernel_in_every_selected_configuration_compiles_without_spills(tmp_path):
    everything = [*FUSED, STEPS]
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(reports, everything, c, tmp_path / str(c)) for c in SHARED_LIMIT]
        for job in jobs:
            assert_fits(job.result(), everything)


def test_a_planted_spill_is_found():
    report = {
        "op": "x",
        "capability": 90,
        "registers": 255,
        "spilled_bytes": 4,
        "shared_bytes": 0,
        "cubin_bytes": 1,
    }
    assert_fits([report | {"spilled_bytes": 0}], ["x"])
    with pytest.raises(AssertionError):
        assert_fits([report], ["x"])
