"""A workspace that lies elsewhere is the same workspace."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest
import torch

from pipeline import load
from pipeline.catalog.warehouse import query, refresh
from pipeline.plan import make_plan
from pipeline.study.config import Study
from pipeline.study.registry import Registry
from pipeline.workspace import Workspace

World = tuple[Workspace, Study]


@pytest.fixture
def moved(world: World, tmp_path: Path) -> Workspace:
    """A copy of the world's workspace in another place."""
    shutil.copytree(world[0].root, tmp_path / "moved")
    return Workspace.open(tmp_path / "moved")


def test_paths_in_the_tables_lead_into_the_moved_workspace(
    world: World, moved: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAE_WORKSPACE", str(moved.root))
    rows = query(moved, "SELECT path FROM saes").to_pylist()
    assert len(rows) == 4
    for row in rows:
        there = load(world[0].root / row["path"])
        assert torch.equal(load(row["path"]).W_dec, there.W_dec)
        assert (moved.root / row["path"] / "sae.safetensors").is_file()
    for row in query(moved, "SELECT store_path FROM sources").to_pylist():
        assert (moved.root / row["store_path"] / "zarr.json").is_file()


def test_no_row_and_no_manifest_names_the_place_where_it_was_made(
    world: World, moved: Workspace
) -> None:
    place = str(world[0].root)
    for name in ("sources", "saes", "metrics", "dictionary_matches", "shuffle_quality"):
        assert place not in str(query(moved, f"FROM {name}").to_pylist())
    for folder in (moved.corpus, moved.activations, moved.saes):
        for path in folder.rglob("*.json"):
            assert place not in path.read_text()


def test_all_work_is_found_done(world: World, moved: Workspace) -> None:
    study = world[1]
    plan = make_plan(moved, Registry.load(moved), study.sources(), study.keys())
    assert plan.missing_sources == plan.missing_cells == ()


def test_a_shell_asks_the_moved_rows_after_the_next_command(world: World, moved: Workspace) -> None:
    assert refresh(moved)
    with duckdb.connect(str(moved.warehouse), read_only=True) as shell:
        (n,) = shell.execute("SELECT count(*) FROM saes").fetchone() or (0,)
        definition = shell.execute("SELECT string_agg(sql, '') FROM duckdb_views()").fetchone()
    assert n == 4
    assert definition is not None
    assert str(moved.tables) in definition[0]
    assert str(world[0].tables) not in definition[0]
