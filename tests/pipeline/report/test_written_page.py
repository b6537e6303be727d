"""What writing the page leaves out and says so, refuses, and is asked for by the command."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import duckdb
import pytest

from pipeline.cli.app import main
from pipeline.errors import StudyError
from pipeline.report import ask as ask_module
from pipeline.report import latents as latents_module
from pipeline.report.answers import NothingToReport
from pipeline.report.run import write_report
from pipeline.study.read import parse_study
from pipeline.study.registry import register
from pipeline.workspace import Workspace
from tests.pipeline.report.browsed import browsed
from tests.pipeline.report.conftest import Scene
from tests.pipeline.report.made_up import made_up


def test_beyond_its_bounds_the_page_says_what_it_leaves_out(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents_module, "MOST_LATENTS", 40)
    monkeypatch.setattr(latents_module, "MOST_EXAMPLES", 100)
    write_report(scene.workspace, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    data = browsed(html)
    assert sorted(data) == [sae for sae in sorted(scene.saes) if "trained" in sae]
    assert {len(columns["example.latent"]) for columns, _ in data.values()} == {3 * 15}
    assert "at most 40 latents: 2 SAEs are not in it" in html
    assert "150 of 240 examples are not on the page" in html


def test_a_part_that_vanished_is_asked_for_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        def sql(self, sql: str) -> None:
            raise duckdb.IOException("No such file or directory")

    monkeypatch.setattr(ask_module, "connect", lambda workspace: nullcontext(Gone()))
    with ask_module.asking(scene.workspace) as ask:
        assert ask("FROM evaluations").num_rows == 4


def test_an_empty_workspace_is_a_clear_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    with pytest.raises(SystemExit) as ended:
        main(["report", "--workspace", str(tmp_path / "w"), "--output", str(page)])
    assert ended.value.code == 2
    assert "has no trained SAE yet" in capsys.readouterr().err
    assert not page.exists()
    with pytest.raises(NothingToReport, match="sae demo"):
        write_report(Workspace.open(tmp_path / "w"), page)


def test_an_unknown_study_is_named_and_writes_nothing(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="--study other"):
        write_report(scene.workspace, tmp_path / "page.html", study="other")
    assert not list(tmp_path.iterdir())


def test_saes_that_were_not_evaluated_are_told(tmp_path: Path) -> None:
    from pipeline.catalog.write import new_run_id, write_run
    from tests.pipeline.catalog.rows import sae

    workspace = Workspace.open(tmp_path / "w")
    row = sae("lm.trained.resid_post.1/topk.s0", n_latents=8)
    write_run(workspace, new_run_id("training"), {"saes": [row]}, kind="training")
    made = write_report(workspace, tmp_path / "page.html")
    html = made.page.read_text()
    assert made.n_saes == 1
    assert "SAEs without an evaluation" in html
    assert browsed(html) == {}


STUDY = """
study: small
models:
  lm: {path: embedded}
sites: [resid_post.1]
recipes:
  topk: {architecture: topk, n_latents: 16, k: 4, tokens: 1000}
"""


def test_the_command_writes_the_page_of_a_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace.open(tmp_path / "w")
    register(workspace, parse_study(STUDY, "here"), yaml_text=STUDY)
    made_up(workspace)
    made_up(workspace, recipe="other")
    page = tmp_path / "page.html"
    place = ["--workspace", str(workspace.root), "--output", str(page)]
    with pytest.raises(SystemExit) as ended:
        main(["report", *place, "--study", "small"])
    assert ended.value.code == 0
    assert "4 SAEs" in capsys.readouterr().out
    html = page.read_text()
    assert "Report on study small" in html
    assert "/topk.s0" in html
    assert "/other.s0" not in html
