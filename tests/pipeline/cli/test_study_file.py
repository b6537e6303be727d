from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli.study_file import registered
from pipeline.language_model import files
from pipeline.study.config import ModelConfig
from pipeline.study.names import Weights
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
    first, _ = registered(workspace, study_file, replace=False, dry_run=False)
    assert first.models["small"].revision == "a" * 40
    hub_at(monkeypatch, "b" * 40)
    again, registry = registered(workspace, study_file, replace=False, dry_run=False)
    assert again == first
    assert len(registry.registrations) == 1


def test_a_revision_that_is_given_is_kept(
    tmp_path: Path, study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_file.write_text(STUDY.replace("someone/small", "someone/small, revision: v1"))
    hub_at(monkeypatch, "a" * 40)
    study, _ = registered(Workspace.open(tmp_path / "w"), study_file, replace=False, dry_run=False)
    assert study.models["small"].revision == "v1"
