from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import WorkspaceError
from pipeline.workspace import FORMAT, VARIABLE, Workspace


def test_a_workspace_is_made_where_missing_and_opened_again(tmp_path: Path) -> None:
    made = Workspace.open(tmp_path / "new")
    assert made == Workspace.open(str(tmp_path / "new"))
    assert made.root.is_absolute()
    mark = json.loads((made.root / "workspace.json").read_text())
    assert mark["format"] == FORMAT


def test_the_variable_names_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert Workspace.open().root == tmp_path / "mine"


def test_without_a_variable_the_workspace_is_beside_the_project(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pipeline import workspace

    monkeypatch.delenv(VARIABLE, raising=False)
    assert workspace.default_root() == Path(__file__).resolve().parents[2] / "workspace"


def test_a_newer_format_says_who_wrote_it_and_what_to_do(tmp_path: Path) -> None:
    mark = {"format": FORMAT + 1, "written_by": "9.9.9"}
    (tmp_path / "workspace.json").write_text(json.dumps(mark))
    with pytest.raises(WorkspaceError, match=r"written by sae-foundry 9\.9\.9.*Update"):
        Workspace.open(tmp_path)


def test_a_damaged_mark_is_told(tmp_path: Path) -> None:
    (tmp_path / "workspace.json").write_text("{")
    with pytest.raises(WorkspaceError, match="cannot be read"):
        Workspace.open(tmp_path)


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be used as a workspace"):
        Workspace.open(tmp_path / "file")
