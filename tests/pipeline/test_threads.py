"""Threads that wait without holding the cores."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline.threads import wait_briefly


def test_a_value_that_is_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    wait_briefly()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    wait_briefly()
    assert os.environ["GOMP_SPINCOUNT"] == "100"


def test_it_is_in_time_for_every_command() -> None:
    """When a command starts, the setting is made and torch is not imported yet."""
    script = (
        "import os, sys, pipeline.cli.app as a\n"
        "a._exit_code = lambda given: print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)\n"
        "a.main(['status'])\n"
    )
    bare = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=bare, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["100", "False"], done.stderr
