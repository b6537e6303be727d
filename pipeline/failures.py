"""What failed and why: one small file per thing, until it is made after all.

The tables hold results only; runs started in the UI are told of there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline import atomic
from pipeline.hashing import content_hash, short
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Failure:
    """What could not be made, why, and when that was found (UTC, ISO 8601)."""

    what: str
    why: str
    at: str


def note_failure(workspace: Workspace, what: str, why: str) -> None:
    """Keeps a failure, in place of an older one of the same thing."""
    found = Failure(what, why, datetime.now(UTC).isoformat(timespec="seconds"))
    atomic.write_json(_path(workspace, what), asdict(found))


def forget_failure(workspace: Workspace, what: str) -> None:
    """Forgets a failure: the thing was made meanwhile."""
    _path(workspace, what).unlink(missing_ok=True)


def failures(workspace: Workspace) -> list[Failure]:
    """Every failure that is not mended, the newest first."""
    found = [
        Failure(**json.loads(path.read_text(encoding="utf-8")))
        for path in (workspace.root / "failed").glob("*.json")
    ]
    return sorted(found, key=lambda one: one.at, reverse=True)


def _path(workspace: Workspace, what: str) -> Path:
    return workspace.root / "failed" / f"{short(content_hash(what))}.json"
