"""What a run inside this process belongs to: its workspace, and who hears of its progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from pipeline.progress import Progress, Report
from pipeline.workspace import Workspace

_SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Session:
    """One command's runs: all of one workspace, all told to one listener."""

    workspace: Workspace
    report: Report


_current: ContextVar[Session | None] = ContextVar("session", default=None)


@contextmanager
def session(workspace: Workspace, report: Report) -> Iterator[None]:
    """Runs inside the block use this workspace and report here."""
    token = _current.set(Session(workspace, report))
    try:
        yield
    finally:
        _current.reset(token)


def current_workspace() -> Workspace:
    """The session's workspace; in the UI's and the daemon's processes the one they were given."""
    here = _current.get()
    return here.workspace if here else Workspace.open()


def current_report(log: logging.Logger) -> Report:
    """The session's listener; without one, a line in the run's log every ten seconds."""
    here = _current.get()
    return here.report if here else _LogLines(log)


class _LogLines:
    """Writes the progress of each stage to a log, at most one line in ten seconds."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._last: dict[str, float] = {}

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        finished = progress.done >= progress.total
        if not finished and now - self._last.get(progress.stage, 0.0) < _SECONDS_BETWEEN_LINES:
            return
        self._last[progress.stage] = now
        self._log.info(line_of(progress))


def line_of(progress: Progress) -> str:
    """One report as a sentence: `training: 120,000 of 500,000 tokens (24 %), seed 0`."""
    share = f" ({progress.done / progress.total:.0%})" if progress.total else ""
    note = f", {progress.note}" if progress.note else ""
    amount = f"{progress.done:,.0f} of {progress.total:,.0f} {progress.unit}"
    return f"{progress.stage}: {amount}{share}{note}"
