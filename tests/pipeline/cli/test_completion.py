"""Shells complete commands, options and the names that a workspace knows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pexpect
import pytest

from pipeline.cli import offers
from pipeline.cli.completion import VARIABLE
from pipeline.study.read import parse_study
from pipeline.study.registry import register
from pipeline.workspace import Workspace

STUDY = """
study: small-one
models:
  lm: {path: embedded}
weights: [trained, random, permuted]
sites: [resid_post.0-1, mlp_out.1]
recipes:
  topk: {architecture: topk, n_latents: 16, k: 4, tokens: 1000}
  top9: {architecture: topk, n_latents: 16, k: 4, tokens: 1000}
  relu: {architecture: relu, n_latents: 16, tokens: 1000}
"""
SAE = "lm.trained.resid_post.1/topk.s0"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("SAE_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.chdir(tmp_path)
    made = Workspace.open()
    register(made, parse_study(STUDY, "here"), yaml_text=STUDY)
    (made.root / "saes" / SAE).mkdir(parents=True)
    return made


def asked(line: str, shell: str) -> str:
    """What `sae` tells a shell that completes the last word of the line."""
    words = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    code = "import sys; sys.argv[0] = 'sae'\nfrom pipeline.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, VARIABLE: f"complete_{shell}", **words[shell]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_the_recipes(workspace: Workspace, shell: str) -> None:
    found = asked("sae backfill --recipes to", shell)
    assert ("topk" in found, "top9" in found, "relu" in found) == (True, True, False)


def test_commands_complete(workspace: Workspace) -> None:
    assert asked("sae st", "bash").split() == ["status"]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program `sae` that completes as ours does, and notes what else it is asked."""
    made = tmp_path / "bin" / "sae"
    made.parent.mkdir()
    code = "import sys; sys.argv[0] = 'sae'; from pipeline.cli.app import main; main()"
    made.write_text(
        f'#!/bin/sh\nif [ "$1" = report ] && [ -z "${VARIABLE}" ]; then\n'
        f'  echo "$*" > "{tmp_path}/asked.new"; mv "{tmp_path}/asked.new" "{tmp_path}/asked"\n'
        f'else\n  exec {sys.executable} -c "{code}" "$@"\nfi\n'
    )
    made.chmod(0o755)
    return made


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
def test_bash_completes_with_the_printed_script(workspace: Workspace, program: Path) -> None:
    script = (
        'eval "$(sae completion bash)"; COMP_WORDS=(sae report --study sm); COMP_CWORD=3; '
        'complete -p sae >/dev/null && _sae_completion sae; echo "${COMPREPLY[*]}"'
    )
    path = f"{program.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("small-one\n", "")


@pytest.mark.parametrize("command", ["export", "upload"])
def test_commands_that_take_an_sae_offer_those_there_are(
    workspace: Workspace, command: str
) -> None:
    assert asked(f"sae {command} lm.tr", "bash").split() == [SAE]


PRESSED = {
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit && compinit -u; eval "$(sae completion zsh)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "sae completion fish | source"),
}


@pytest.mark.long
@pytest.mark.parametrize("shell", PRESSED)
def test_a_real_shell_completes_at_a_press_of_tab(
    workspace: Workspace, program: Path, tmp_path: Path, shell: str
) -> None:
    (name, *options), first = PRESSED[shell]
    if shutil.which(name) is None:
        pytest.skip(f"no {name} on this machine")
    path = f"{program.parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "TERM": "xterm", "HOME": str(tmp_path)}
    with pexpect.spawn(name, options, env=env, timeout=120, encoding="utf-8") as terminal:
        terminal.sendline(f"{first}; touch {tmp_path}/ready")
        _drain(terminal, until=tmp_path / "ready")
        terminal.send("sae report --study sm\t")
        terminal.expect("small-one")
        terminal.send("\r")
        _drain(terminal, until=tmp_path / "asked")
    assert (tmp_path / "asked").read_text().split() == ["report", "--study", "small-one"]


def _drain(terminal: pexpect.spawn, *, until: Path) -> None:
    """Lets the shell write until a file is there."""
    for _ in range(600):
        if until.exists():
            return
        with suppress(pexpect.TIMEOUT):
            terminal.expect(".", timeout=0.2)
    raise AssertionError(f"{until.name} did not come")


def test_names_come_from_the_workspace(workspace: Workspace) -> None:
    assert offers.studies("sma") == ["small-one"]
    assert offers.saes("lm.tr") == [SAE]
    assert offers.saes("other") == []
    assert offers.models("") == ["lm"]
    assert offers.kinds("") == ["mlp_out", "resid_post"]
    assert offers.weights("p") == ["permuted"]


def test_lists_go_on_after_a_comma_without_what_they_hold(workspace: Workspace) -> None:
    assert offers.recipes("topk,to") == ["topk,top9"]


def test_a_study_may_be_a_file(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").touch()
    (tmp_path / "small.txt").touch()
    (tmp_path / "some").mkdir()
    assert offers.study_or_file("sm") == ["small-one", "small.yaml"]
    assert offers.study_or_file("so") == ["some/"]
    assert offers.study_or_file(f"{tmp_path}/sma") == [f"{tmp_path}/small.yaml"]


def test_the_workspace_of_the_line_decides(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAE_WORKSPACE", str(tmp_path / "other"))
    assert offers.studies("") == []
    monkeypatch.setenv("COMP_WORDS", f"sae report --workspace {workspace.root} --study ")
    assert offers.studies("") == ["small-one"]
