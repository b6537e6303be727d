"""The report asset: a page beside the tables, its path and a picture in the metadata."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from assets.report import report
from pipeline.orchestrate.session import session
from pipeline.progress import silent
from pipeline.workspace import Workspace
from tests.pipeline.report.made_up import made_up


def materialized(workspace: Workspace) -> dg.ExecuteInProcessResult:
    with session(workspace, silent):
        return dg.materialize([report], resources={"run_lock": None}, raise_on_error=False)


def test_the_asset_writes_the_page_and_shows_a_picture(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w")
    assert not materialized(workspace).success
    made_up(workspace)
    result = materialized(workspace)
    assert result.success
    (made,) = result.asset_materializations_for_node("report")
    page = Path(str(made.metadata["page"].value))
    assert page == workspace.root / "report.html"
    assert page.read_text().startswith("<!doctype html>")
    assert made.metadata["saes"].value == 4
    for figure in ("fvu_l0", "frequency", "mmcs"):
        assert "data:image/png;base64," in str(made.metadata[figure].value)
