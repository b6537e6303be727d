"""Stopping the UI with everything it started: servers, daemon, and the runs in their care."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from pipeline import locks
from pipeline.orchestrate.instance import instance as open_instance
from pipeline.workspace import Workspace

_SECONDS = 60.0
_POLL_SECONDS = 0.1


def stop_group(workspace: Workspace, leader: subprocess.Popen[bytes]) -> list[str]:
    """Ends a process group: its runs as canceled, then the rest; gives the runs' ids.

    Without this Dagster leaves its runs working behind the closed UI, where nobody sees them.
    """
    runs = _runs_of(workspace, leader.pid)
    if runs:
        _mark_canceling(workspace, runs)
    if leader.poll() is None:
        leader.send_signal(signal.SIGTERM)
        try:
            leader.wait(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            leader.kill()
            leader.wait()
    _end(leader.pid)
    return runs


def _mark_canceling(workspace: Workspace, runs: list[str]) -> None:
    with open_instance(workspace) as instance:
        for run_id in runs:
            run = instance.get_run_by_id(run_id)
            if run is not None and not run.is_finished:
                instance.report_run_canceling(run, "The UI is being stopped.")


def _runs_of(workspace: Workspace, group: int) -> list[str]:
    """Runs whose holder is a process of the group."""
    return [
        run_id
        for run_id, (holder, alive) in locks.runs(workspace).items()
        if alive and holder is not None and _group_of(holder.pid) == group
    ]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _end(group: int) -> None:
    """SIGTERM to what is left of the group, SIGKILL to what is left after a minute."""
    until = time.monotonic() + _SECONDS
    number = signal.SIGTERM
    while True:
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        if number == signal.SIGKILL:
            return
        while time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return
        number = signal.SIGKILL
