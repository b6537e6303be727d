"""On a CUDA device every kernel runs under compute-sanitizer: no access outside, no race."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sae_kernels.dispatch import forms

from tests.kernels.every_kernel import TESTED

FUSED = [op for op in TESTED if "fused" in forms(op)]
ROOT = Path(__file__).parents[2]


@pytest.mark.gpu
@pytest.mark.skipif(
    shutil.which("compute-sanitizer") is None,
    reason="compute-sanitizer is not installed: kernels were not checked for wrong accesses. "
    "It comes with the CUDA toolkit",
)
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
@pytest.mark.parametrize("op", FUSED)
def test_no_kernel_reads_or_writes_where_it_must_not(op, tool):
    found = subprocess.run(
        [
            *("compute-sanitizer", "--tool", tool, "--error-exitcode", "9"),
            *(sys.executable, "-m", "tests.kernels.on_device", op),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
