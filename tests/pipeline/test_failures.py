"""A failure is kept until the thing is made."""

from __future__ import annotations

from pathlib import Path

from pipeline.failures import failures, forget_failure, note_failure
from pipeline.workspace import Workspace


def test_a_failure_is_told_until_the_thing_is_made(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w")
    assert failures(workspace) == []
    note_failure(workspace, "sae of a/b|c", "first reason")
    note_failure(workspace, "sae of a/b|c", "second reason")
    note_failure(workspace, "activations of d", "another reason")
    told = {one.what: one.why for one in failures(workspace)}
    assert told == {"sae of a/b|c": "second reason", "activations of d": "another reason"}
    forget_failure(workspace, "sae of a/b|c")
    forget_failure(workspace, "what never failed")
    assert [one.what for one in failures(workspace)] == ["activations of d"]
