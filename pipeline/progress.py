"""How long work tells its caller where it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One report of a stage: `done` of `total` units, with a short note."""

    stage: str
    done: float
    total: float
    unit: str
    note: str = ""


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Takes reports and shows nothing."""
