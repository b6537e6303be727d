"""Every command that a script would read prints one JSON value and nothing else.

`run` and `backfill` are tried where they make something.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from pipeline.cli.app import app, main
from pipeline.workspace import Workspace
from tests.pipeline.report.made_up import made_up

FOR_PEOPLE = {"demo", "ui", "completion"}
BY_FORMAT = {"sql"}


def test_every_command_for_scripts_has_json() -> None:
    commands = typer.main.get_command(app).commands
    without = {
        name
        for name, command in commands.items()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert without == FOR_PEOPLE | BY_FORMAT


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("SAE_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.chdir(tmp_path)
    made = Workspace.open()
    made_up(made)
    return made


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["init", "--json"], {"workspace", "study"}),
        (["status", "--json"], {"saes", "running", "failed", "diverged", "died", "device"}),
        (["doctor", "--json"], {"packages", "gpu", "disk_free_gb", "package_index", "slow"}),
        (["gc", "--dry-run", "--json"], {"done", "remove", "forget", "compact"}),
        (["gc", "--yes", "--json", "--older-than", "0"], {"done", "remove"}),
        (["remote", "--json"], {"url"}),
        (["report", "--json", "--figures", "f"], {"page", "bytes", "saes", "figures"}),
    ],
)
def test_the_answer_is_one_object(
    workspace: Workspace,
    arguments: list[str],
    keys: set[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert keys <= told.keys()


def test_claims_and_rows_are_lists(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["claims", "--json"], ["sql", "FROM evaluations", "--format", "json"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        assert len(json.loads(capsys.readouterr().out)) > 0


def test_gc_does_not_ask_a_script_for_consent(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gc", "--json"])
    assert ended.value.code == 2
    assert "Add --dry-run" in capsys.readouterr().err
