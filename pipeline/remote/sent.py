"""How much of what a workspace has finished lies at its remote place, as its own files say.

No network: what is looked at are the marks that sending and bringing leave beside what they are of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.remote.place import remote_of
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Sent:
    """The place, and of the finished sources and SAEs here how many lie there, and how many are."""

    url: str
    sources_there: int
    sources: int
    saes_there: int
    saes: int


def sent(workspace: Workspace) -> Sent | None:
    """None where no remote place is named; raises RemoteError where its name cannot be read."""
    remote = remote_of(workspace)
    if remote is None:
        return None
    from pipeline.training.record import DONE_FILE

    found = workspace.activations.glob("*/*/manifests/*.json")
    whole = [path for path in found if path.stem.count(".") == 1]  # <kind>.<layer>.json
    sources = [path.with_name(f"{path.stem}.remote.json") for path in whole]
    saes = [path.with_name("remote.json") for path in workspace.saes.rglob(DONE_FILE)]
    return Sent(
        remote.url, _there(sources, remote.url), len(sources), _there(saes, remote.url), len(saes)
    )


def _there(marks: Iterable[Path], url: str) -> int:
    return sum(mark.exists() and json.loads(mark.read_text())["url"] == url for mark in marks)
