"""Progress on the terminal: one line per stage with rate and time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from pipeline.progress import Progress, Report

_PAUSE_TERMINAL = 0.2
_PAUSE_FILE = 10.0


@contextmanager
def shown(stream: TextIO | None = None) -> Iterator[Report]:
    """A Report that shows where work stands, on stderr; into a file, a line every ten seconds."""
    lines = _Lines(stream or sys.stderr)
    try:
        yield lines.report
    finally:
        lines.end()


class _Lines:
    """What is on the screen now, and when each stage began."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._stage: str | None = None
        self._began = (0.0, 0.0)
        self._last: Progress | None = None
        self._shown_at = 0.0

    def report(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage != self._stage:
            self.end()
            self._stage, self._began, self._shown_at = progress.stage, (now, progress.done), now
        self._last = progress
        pause = _PAUSE_TERMINAL if self._live else _PAUSE_FILE
        if now - self._shown_at >= pause:
            self._show(progress, now)

    def end(self) -> None:
        """Leaves the current stage's last state on its own line."""
        if self._last is not None:
            self._show(self._last, time.monotonic())
            if self._live:
                self._stream.write("\n")
                self._stream.flush()
        self._stage = self._last = None

    def _show(self, progress: Progress, now: float) -> None:
        began, done_then = self._began
        text = line(progress, seconds=now - began, done_before=done_then)
        self._stream.write(f"\r\x1b[2K{text}" if self._live else f"{text}\n")
        self._stream.flush()
        self._shown_at = now


def line(progress: Progress, *, seconds: float, done_before: float = 0.0) -> str:
    """One line: stage, share done, rate, time left; `done_before` units were done at the start."""
    parts = [progress.stage]
    new = progress.done - done_before
    rate = new / seconds if seconds > 0 and new > 0 else 0.0
    if progress.total > 0:
        share = min(1.0, progress.done / progress.total)
        parts.append(f"{share:4.0%}  {_amount(progress.done)}/{_amount(progress.total)}")
    else:
        parts.append(_amount(progress.done))
    parts[-1] += f" {progress.unit}"
    if rate:
        parts.append(f"{_amount(rate)} {progress.unit}/s")
        left = progress.total - progress.done
        parts.append(f"{duration(left / rate)} left" if left > 0 else f"in {duration(seconds)}")
    if progress.note:
        parts.append(progress.note)
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 10 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _amount(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            unit = 1e3 if letter == "k" else size
            return f"{value / unit:.1f}{letter}"
    return f"{value:.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.1f}"
