"""init, sql, status and gc, as a person types them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.catalog.write import write_run
from pipeline.cli.app import main
from pipeline.failures import note_failure
from pipeline.locks import device_lock, run_lock
from pipeline.study.read import load_study, parse_study
from pipeline.study.registry import register
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import metric, sae

NAME = "m.trained.resid_post.0/t.s0"
BAD = "m.trained.mlp_out.0/t.s0"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("SAE_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.chdir(tmp_path)
    return Workspace.open()


def _type(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_init_writes_a_study_that_can_be_used_and_does_not_overwrite(
    workspace: Workspace, tmp_path: Path, capsys: Captured
) -> None:
    assert _type("init") == 0
    assert "sae run study.yaml" in capsys.readouterr().out
    assert load_study(tmp_path / "study.yaml").cells()
    assert workspace.warehouse.exists()
    (tmp_path / "study.yaml").write_text("mine")
    assert _type("init") == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "study.yaml").read_text() == "mine"
    assert _type("init", "--force") == 0
    assert load_study(tmp_path / "study.yaml").study == "first"


def test_init_says_the_next_command_with_its_workspace(tmp_path: Path, capsys: Captured) -> None:
    other = tmp_path / "other"
    assert _type("init", str(tmp_path / "study.yaml"), "--workspace", str(other)) == 0
    assert f"sae --workspace {other} run {tmp_path / 'study.yaml'}" in capsys.readouterr().out


def test_sql_takes_its_query_from_the_argument_a_file_or_stdin(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    (tmp_path / "q.sql").write_text("SELECT 41 + 1 AS n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 41 + 1 AS n"))
    for arguments in (["SELECT 41 + 1 AS n"], ["--file", "q.sql"], []):
        assert _type("sql", *arguments, "--format", "csv") == 0
        assert capsys.readouterr().out == "n\n42\n"


def test_sql_answers_before_any_data_exists(workspace: Workspace, capsys: Captured) -> None:
    assert _type("sql", "SELECT sae, fvu FROM evaluations") == 0
    assert capsys.readouterr().out.splitlines() == ["sae  fvu", "---  ---", "(0 rows)"]


def test_sql_shows_the_four_formats(workspace: Workspace, tmp_path: Path, capsys: Captured) -> None:
    write_run(
        workspace, "r", {"saes": [sae(NAME)], "metrics": [metric(NAME, "fvu", 0.5)]}, kind="x"
    )
    query = "SELECT sae, fvu FROM evaluations"
    shown = {}
    for style in ("table", "csv", "json"):
        assert _type("sql", query, "--format", style) == 0
        shown[style] = capsys.readouterr().out
    assert NAME in shown["table"]
    assert shown["csv"] == f"sae,fvu\n{NAME},0.5\n"
    assert json.loads(shown["json"]) == [{"sae": NAME, "fvu": 0.5}]
    assert _type("sql", query, "--format", "parquet", "--output", "rows.parquet") == 0
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == [{"sae": NAME, "fvu": 0.5}]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["SELEC 1"], "syntax error at or near"),
        (["SELECT * FROM evaluation"], "Table with name evaluation does not exist"),
        (["SELECT 1", "--format", "parquet"], "--output"),
        (["SELECT 1", "--file", "x"], "Give one of them"),
        (["--file", "none.sql"], "cannot be read"),
        (["COPY saes TO 'x.csv'"], "only reads"),
        (["EXPLAIN ANALYZE COPY (SELECT 1) TO 'x.csv'"], "EXPLAIN of a statement of kind COPY"),
    ],
)
def test_sql_that_cannot_be_answered_is_exit_code_2(
    workspace: Workspace, tmp_path: Path, capsys: Captured, arguments: list[str], text: str
) -> None:
    assert _type("sql", *arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert text in err
    assert not (tmp_path / "x.csv").exists()


def test_status_counts_what_exists_and_names_what_runs_and_died(
    workspace: Workspace, capsys: Captured
) -> None:
    rows = {
        "saes": [sae(NAME), sae(BAD, status="diverged", divergence="diverged at step 7")],
        "metrics": [metric(NAME, "l0", 3.0)],
    }
    write_run(workspace, "r", rows, kind="training")
    died = (
        "import os, sys; from pipeline.locks import run_lock\n"
        "from pipeline.workspace import Workspace\n"
        "with run_lock(Workspace.open(sys.argv[1]), 'killed'): os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", died, str(workspace.root)], check=False)
    with run_lock(workspace, "alive"), device_lock(workspace, "training"):
        assert _type("status", "--json") == 0
        state = json.loads(capsys.readouterr().out)
        assert _type("status") == 0
        text = capsys.readouterr().out
    assert [state[name] for name in ("studies", "sources", "saes", "evaluations")] == [0, 0, 2, 1]
    assert [run["run"] for run in state["running"]] == ["alive"]
    assert [run["run"] for run in state["died"]] == ["killed"]
    assert state["diverged"] == [{"sae": BAD, "why": "diverged at step 7"}]
    assert f"diverged     {BAD}: diverged at step 7" in text
    assert "(training)" in state["device"]
    assert "alive: process" in text
    assert "killed: process" in text
    assert _type("status") == 0
    assert "the same command goes on" in capsys.readouterr().out


def test_status_says_what_failed_and_why(workspace: Workspace, capsys: Captured) -> None:
    note_failure(workspace, "sae of topk.s0|m.trained.mlp_out.0", "the disk is full")
    assert _type("status") == 0
    told = capsys.readouterr().out
    assert "sae of topk.s0|m.trained.mlp_out.0" in told
    assert "the disk is full" in told
    assert "the same command makes what failed" in told


def test_status_of_an_empty_workspace_says_what_to_type(
    workspace: Workspace, capsys: Captured
) -> None:
    assert _type("status") == 0
    assert "sae init" in capsys.readouterr().out


def test_status_of_an_interrupted_first_study_says_how_to_go_on(
    workspace: Workspace, capsys: Captured
) -> None:
    assert _type("init") == 0
    text = Path("study.yaml").read_text()
    register(workspace, parse_study(text, "test"), yaml_text=text)
    capsys.readouterr()
    assert _type("status") == 0
    told = capsys.readouterr().out
    assert "the same study goes on where it stopped" in told
    assert "sae init" not in told


def test_gc_lists_first_and_removes_with_consent(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    leftover = workspace.root / "saes" / "x.partial-999999999-ab"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    assert _type("gc", "--dry-run") == 0
    assert str(leftover) in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert _type("gc") == 0
    assert leftover.exists()
    assert _type("gc", "--yes") == 0
    assert not leftover.exists()
    capsys.readouterr()
    assert _type("gc") == 0
    assert capsys.readouterr().out == "nothing to do\n"


def test_a_workspace_of_a_newer_format_is_refused(workspace: Workspace, capsys: Captured) -> None:
    (workspace.root / "workspace.json").write_text('{"format": 99, "written_by": "9.0"}')
    assert _type("status") == 2
    assert "Update this installation to 9.0" in capsys.readouterr().err
