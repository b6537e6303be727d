"""One made-up workspace and its page, for all tests here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.report.answers import Answers, answers
from pipeline.report.ask import asking
from pipeline.report.run import Written, write_report
from pipeline.workspace import Workspace
from tests.pipeline.report.made_up import made_up


@dataclass(frozen=True)
class Scene:
    """A workspace, its SAEs, the page and the figures' folder."""

    workspace: Workspace
    saes: list[str]
    written: Written
    html: str
    figures: Path
    found: Answers


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("report")
    workspace = Workspace.open(folder / "workspace")
    saes = made_up(workspace)
    page, figures = folder / "page.html", folder / "figures"
    written = write_report(workspace, page, figures=figures)
    with asking(workspace) as ask:
        found = answers(workspace, ask, None)
    return Scene(workspace, saes, written, page.read_text(encoding="utf-8"), figures, found)
