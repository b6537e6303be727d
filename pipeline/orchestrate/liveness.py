"""Which runs still have a process: a lock per run, and the end of those whose holder died."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from pipeline import locks
from pipeline.workspace import Workspace

_SECOND_LOOK_SECONDS = 0.2

_held_here: set[str] = set()


@contextmanager
def hold_run(workspace: Workspace, run_id: str, *, owner: str) -> Iterator[None]:
    """Says that this process works on the run, and on what; re-entrant inside the process."""
    if run_id in _held_here:
        yield
        return
    with locks.run_lock(workspace, run_id, owner=owner):
        _held_here.add(run_id)
        try:
            yield
        finally:
            _held_here.discard(run_id)


def reap(instance: dg.DagsterInstance, workspace: Workspace) -> list[str]:
    """Marks the runs whose process died as failed; gives their ids.

    A run that ends removes its lock file, so a file that nobody holds was left by a dead process.
    A second look after a moment spares a run that is just taking its lock.
    """
    suspects = _without_holder(workspace)
    if not suspects:
        return []
    time.sleep(_SECOND_LOOK_SECONDS)
    dead = [run_id for run_id in suspects if run_id in _without_holder(workspace)]
    for run_id in dead:
        run = instance.get_run_by_id(run_id)
        if run is not None and run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, "The process of this run ended.")
        elif run is not None and not run.is_finished:
            instance.report_run_failed(
                run, "The process of this run died. What it had finished is kept; start it again."
            )
        locks.forget_run(workspace, run_id)
    return dead


def _without_holder(workspace: Workspace) -> list[str]:
    return [run_id for run_id, (_, alive) in locks.runs(workspace).items() if not alive]
