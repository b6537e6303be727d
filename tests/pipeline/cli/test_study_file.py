from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.cli.study_file import proposed
from pipeline.errors import UserError
from pipeline.language_model import files
from pipeline.study.config import ModelConfig
from pipeline.study.names import Weights
from pipeline.study.registry import Registry
from pipeline.workspace import Workspace

STUDY = """
study: hub
models: {small: {path: someone/small}}
sites: [resid_post.0]
recipes: {topk8: {architecture: topk, n_latents: 64, k: 8, tokens: 4096}}
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def hub_at(monkeypatch: pytest.MonkeyPatch, commit: str) -> None:
    """A hub whose every model is at `commit` now."""

    def model_files(config: ModelConfig, weights: Weights | None = None) -> files.ModelFiles:
        return files.ModelFiles(Path("/nowhere"), config.revision or commit)

    monkeypatch.setattr(files, "model_files", model_files)


def test_a_hub_model_stays_at_the_commit_it_had_when_it_was_first_used(
    tmp_path: Path, study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open(tmp_path / "workspace")
    hub_at(monkeypatch, "a" * 40)
    first = proposed(workspace, study_file, replace=False)
    first.register(workspace)
    assert first.study.models["small"].revision == "a" * 40
    hub_at(monkeypatch, "b" * 40)
    again = proposed(workspace, study_file, replace=False)
    again.register(workspace)
    assert again.study == first.study
    assert len(Registry.load(workspace).registrations) == 1


def test_a_revision_that_is_given_is_kept(
    tmp_path: Path, study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_file.write_text(STUDY.replace("someone/small", "someone/small, revision: v1"))
    hub_at(monkeypatch, "a" * 40)
    given = proposed(Workspace.open(tmp_path / "w"), study_file, replace=False)
    assert given.study.models["small"].revision == "v1"


def test_a_study_that_is_refused_takes_no_names(tmp_path: Path) -> None:
    """Mended, the same file runs: the first try left nothing behind."""
    study_file = tmp_path / "study.yaml"
    study_file.write_text(STUDY.replace("someone/small", "embedded").replace("post.0", "post.9"))
    place = ["--workspace", str(tmp_path / "w")]
    command = CliRunner().invoke(app, [*place, "run", str(study_file)])
    assert isinstance(command.exception, UserError)
    assert "layer 9 is beyond the depth" in str(command.exception)
    workspace = Workspace.open(tmp_path / "w")
    assert Registry.load(workspace).registrations == ()
    study_file.write_text(STUDY.replace("someone/small", "embedded"))
    proposed(workspace, study_file, replace=False).register(workspace)
