"""The views file: what a DuckDB shell opens, and when it is made anew."""

from __future__ import annotations

import shutil

import duckdb
import pytest

from pipeline.catalog import parts, tables
from pipeline.catalog.tables import TABLES
from pipeline.catalog.warehouse import query, refresh
from pipeline.catalog.write import write_run
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import A, ask, metric, sae


def test_a_column_that_comes_later_is_null_in_older_parts(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(workspace, "r1", {"metrics": [metric(A, "l0", 1.0)]}, kind="x")
    assert ask(workspace, "SELECT count(*) AS n FROM metrics") == [{"n": 1}]
    old = TABLES["metrics"]
    more = tables.Column("unit", "VARCHAR", "new")
    later = tables.Table(old.name, old.comment, (*old.columns, more), old.key)
    monkeypatch.setitem(TABLES, "metrics", later)
    write_run(workspace, "r2", {"metrics": [metric(A, "fvu", 1.0, unit="x")]}, kind="x")
    found = ask(workspace, "SELECT metric, unit FROM metrics ORDER BY metric")
    assert found == [{"metric": "fvu", "unit": "x"}, {"metric": "l0", "unit": None}]


def test_any_duckdb_shell_sees_the_same(workspace: Workspace) -> None:
    refresh(workspace)
    write_run(workspace, "r1", {"saes": [sae(A)]}, kind="x")
    with duckdb.connect(str(workspace.warehouse), read_only=True) as shell:
        assert shell.execute("SELECT sae FROM evaluations").fetchall() == [(A,)]
        version = shell.execute(
            "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name='warehouse'"
        ).fetchone()
        tables_of_data = shell.execute("SELECT count(*) FROM duckdb_tables()").fetchone()
    assert version is not None
    assert str(version[0]).startswith("v1.0.0")
    assert tables_of_data == (0,)


def test_the_views_file_is_replaced_only_when_its_sql_changed(workspace: Workspace) -> None:
    refresh(workspace)
    before = workspace.warehouse.stat()
    refresh(workspace)
    assert workspace.warehouse.stat() == before
    workspace.warehouse.unlink()
    refresh(workspace)
    assert workspace.warehouse.exists()


def test_a_moved_workspace_gets_new_paths(workspace: Workspace) -> None:
    refresh(workspace)
    write_run(workspace, "r1", {"saes": [sae(A)]}, kind="x")
    moved = workspace.root.with_name("moved")
    shutil.move(workspace.root, moved)
    there = Workspace.open(moved)
    refresh(there)
    with duckdb.connect(str(there.warehouse), read_only=True) as shell:
        assert shell.execute("SELECT count(*) FROM saes").fetchone() == (1,)


def test_a_views_file_with_unwritten_changes_is_left_alone(workspace: Workspace) -> None:
    refresh(workspace)
    (workspace.tables / ".views").unlink()
    wal = workspace.warehouse.with_name("warehouse.duckdb.wal")
    wal.write_bytes(b"somebody's changes")
    before = workspace.warehouse.stat().st_ino
    assert not refresh(workspace)
    assert workspace.warehouse.stat().st_ino == before
    wal.unlink()
    assert refresh(workspace)
    assert workspace.warehouse.stat().st_ino != before


def test_a_workspace_whose_path_has_quotes_and_stars_works(workspace: Workspace) -> None:
    odd = Workspace.open(workspace.root / "it's [a] *star*")
    refresh(odd)
    write_run(odd, "r1", {"saes": [sae(A)]}, kind="x")
    assert query(odd, "FROM saes").num_rows == 1
    with duckdb.connect(str(odd.warehouse), read_only=True) as shell:
        assert shell.execute("SELECT count(*) FROM saes").fetchone() == (1,)


def test_parts_never_change_their_name_for_another_schema(workspace: Workspace) -> None:
    parts.lay_out(workspace)
    before = {path: path.stat().st_mtime_ns for path in workspace.tables.rglob("*.parquet")}
    parts.lay_out(workspace)
    assert before == {p: p.stat().st_mtime_ns for p in workspace.tables.rglob("*.parquet")}
    assert len(before) == 2 * len(TABLES)
