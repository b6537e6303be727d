from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pipeline.cli import app as command_line
from pipeline.cli.app import app, main
from pipeline.errors import StudyError

HEAVY = ("torch", "transformers", "zarr", "pyarrow", "duckdb", "dagster", "pydantic", "numpy")
WORDS = {
    "init": ["path", "--force", "--json"],
    "run": ["study", "--replace", "--launch", "--dry-run", "--json"],
    "demo": [],
    "backfill": [
        "study",
        "--layers",
        "--seeds",
        "--model",
        "--sites",
        "--weights",
        "--recipes",
        "--queue",
        "--launch",
        "--dry-run",
        "--json",
    ],
    "sql": ["query", "--file", "--format", "--output"],
    "claims": ["--json"],
    "match": ["one", "other", "--json"],
    "frontier": ["source", "family", "other", "--l0", "--loss", "--json"],
    "report": ["--output", "--study", "--figures", "--json"],
    "export": ["sae", "--format", "--out", "--nearest", "--json"],
    "import": [
        "place",
        "--source",
        "--as",
        "--format",
        "--revision",
        "--write-site",
        "--evaluate",
        "--json",
    ],
    "upload": [
        "sae",
        "repository",
        "--format",
        "--subfolder",
        "--licence",
        "--private",
        "--nearest",
        "--json",
    ],
    "download": ["place", "--out", "--revision", "--json"],
    "status": ["--json"],
    "doctor": ["--json"],
    "ui": ["--port"],
    "gc": ["--dry-run", "--yes", "--older-than", "--json"],
    "remote": ["url", "--cache-gb", "--send", "--json"],
    "completion": ["shell"],
}


def _options(command: object) -> list[str]:
    return [
        parameter.opts[0] if parameter.param_type_name == "option" else parameter.name
        for parameter in command.params
        if "--help" not in parameter.opts
    ]


def _sae(*arguments: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    code = "from pipeline.cli.app import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, **kwargs
    )


def test_the_commands_and_their_options_are_these() -> None:
    group = typer.main.get_command(app)
    assert _options(group) == ["--workspace"]
    assert {name: _options(command) for name, command in group.commands.items()} == WORDS


def test_help_lists_every_command_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom pipeline.cli.app import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = shown.stdout.splitlines()
    assert lines[-1] == "[]"
    assert all(any(line.split()[:1] == [name] for line in lines) for name in WORDS)


def test_help_shows_every_summary_whole_on_80_columns() -> None:
    shown = _sae("--help", env={**os.environ, "COLUMNS": "80"}, check=True).stdout
    assert shown.count("\n  ") >= len(WORDS)
    assert "..." not in shown.replace("[ARGS]...", "")


def test_an_error_of_the_user_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise StudyError("the reason")

    monkeypatch.setattr(command_line, "app", refused)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: the reason\n"


@pytest.mark.parametrize(
    "arguments", [["sqll"], ["sql", "--formt", "csv"], ["gc", "--older-than", "x"]]
)
def test_a_misspelt_command_or_option_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AttributeError("our own mistake")

    monkeypatch.setattr(command_line, "app", broken)
    with pytest.raises(AttributeError, match="our own mistake"):
        main([])


_SLEEPING_STDIN = """
import sys, time
class Stdin:
    def isatty(self): return False
    def read(self):
        print("reading", flush=True)
        time.sleep(600)
sys.stdin = Stdin()
from pipeline.cli.app import main
main(["sql"])
"""


def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SLEEPING_STDIN],
        env={**os.environ, "SAE_WORKSPACE": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
    assert err.endswith("interrupted\n")
    assert "Traceback" not in err


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    code = "from pipeline.cli.app import main; main()"
    query = "SELECT * FROM range(100000)"
    with subprocess.Popen(
        [sys.executable, "-c", code, "sql", query, "--format", "csv"],
        env={**os.environ, "SAE_WORKSPACE": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "range\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 0


def test_the_workspace_may_be_named_before_or_after_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ["--workspace", str(tmp_path / "a"), "status", "--json"],
        ["status", "--json", "--workspace", str(tmp_path / "a")],
        ["status", f"--workspace={tmp_path / 'a'}", "--json"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        assert json.loads(capsys.readouterr().out)["workspace"] == str(tmp_path / "a")
