"""Where triton cannot be installed everything but the fused forms works and is tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = ("-p", "tests.kernels.without_triton")


def without_triton(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *PLUGIN, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_the_choice_of_forms_stands_without_triton():
    assert "skipped" in without_triton("tests/kernels/test_dispatch.py")


@pytest.mark.long
def test_kernels_and_architectures_stand_without_triton():
    passed = without_triton("tests/kernels", "tests/sae_core/test_every_architecture.py")
    assert "skipped" in passed
