from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import atomic
from pipeline.catalog import parts, views, write
from pipeline.catalog.tables import COMMITS
from pipeline.catalog.warehouse import query
from pipeline.catalog.write import new_run_id, write_run
from pipeline.errors import DiskFullError
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import metric, row, sae

NAME = "m.trained.resid_post.0/t.s0"


def _count(workspace: Workspace, table: str) -> int:
    return query(workspace, f"SELECT count(*) AS n FROM {table}")["n"][0].as_py()


def test_run_ids_sort_by_time_and_differ() -> None:
    ids = [new_run_id("training") for _ in range(50)]
    assert len(set(ids)) == 50
    assert [i.split("-")[0] for i in ids] == sorted(i.split("-")[0] for i in ids)


def test_rows_show_when_the_write_returns(workspace: Workspace) -> None:
    write_run(
        workspace, "r1", {"saes": [sae(NAME)], "metrics": [metric(NAME, "fvu", 0.5)]}, kind="x"
    )
    found = query(workspace, "SELECT sae, run, value FROM metrics JOIN saes USING (sae, run)")
    assert found.to_pylist() == [{"sae": NAME, "run": "r1", "value": 0.5}]
    (record,) = query(workspace, "FROM commits").to_pylist()
    assert (record["run"], record["kind"]) == ("r1", "x")
    assert record["package_version"]


def test_a_run_may_give_an_arrow_table(workspace: Workspace) -> None:
    rows = pa.Table.from_pylist([metric(NAME, "fvu", 0.5), metric(NAME, "l0", 3.0)])
    write_run(workspace, "r1", {"metrics": rows}, kind="x")
    assert _count(workspace, "metrics") == 2


def test_nothing_shows_of_a_run_that_did_not_reach_its_commit(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        write_run(workspace, "r1", {"metrics": [metric(NAME, "fvu", 0.5)]}, kind="x")
    assert list((workspace.tables / "metrics").glob("r1*"))
    assert _count(workspace, "metrics") == 0


@pytest.mark.parametrize("table", ["metrics", "commits"])
def test_a_full_disk_at_any_part_shows_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    def full(path: Path, n_bytes: int) -> None:
        if path.parent.name == table:
            raise OSError(errno.ENOSPC, "No space left on device")

    rows = {"saes": [sae(NAME)], "metrics": [metric(NAME, "fvu", 0.5)]}
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_reserve", full)
        with pytest.raises(DiskFullError, match=table):
            write_run(workspace, "r1", rows, kind="x")
    assert [_count(workspace, name) for name in ("saes", "metrics", "commits")] == [0, 0, 0]
    assert not list(workspace.tables.rglob("*.partial-*"))
    write_run(workspace, "r2", rows, kind="x")
    assert _count(workspace, "metrics") == 1


def test_columns_must_be_the_tables_own(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="unknown column 'colour'"):
        write_run(workspace, "r", {"metrics": [metric(NAME, "l0", 1.0, colour="red")]}, kind="x")
    short = metric(NAME, "l0", 1.0)
    del short["reason"]
    with pytest.raises(ValueError, match="missing column 'reason'"):
        write_run(workspace, "r", {"metrics": [short]}, kind="x")
    with pytest.raises(ValueError, match="does not fit its column"):
        write_run(workspace, "r", {"metrics": [metric(NAME, "l0", 1.0, n="many")]}, kind="x")
    with pytest.raises(ValueError, match="unknown tables: metricz"):
        write_run(workspace, "r", {"metricz": [row("metrics")]}, kind="x")
    assert _count(workspace, "commits") == 0


def test_a_run_is_written_once(workspace: Workspace) -> None:
    write_run(workspace, "r1", {"saes": [sae(NAME)]}, kind="x")
    with pytest.raises(ValueError, match="committed already"):
        write_run(workspace, "r1", {"saes": [sae(NAME)]}, kind="x")


@pytest.mark.parametrize(("hours_ahead", "shown"), [(-1, 1), (1, 0), (3, 1)])
def test_a_commit_hides_only_for_its_short_moment_ahead(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, hours_ahead: int, shown: int
) -> None:
    """A stamp further ahead was made before the clock was set back: results must not vanish."""
    monkeypatch.setattr(views, "FAR_AHEAD_US", 2 * 3600 * 1_000_000)
    stamp = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=hours_ahead)
    record = {"run": "r1", "kind": "x", "committed_at": stamp, "shows_from": stamp}
    table = pa.Table.from_pylist([record], schema=parts.schema(COMMITS))
    parts.write(parts.part(workspace, "commits", "r1"), table)
    assert _count(workspace, "commits") == shown


def test_a_commit_shows_from_a_moment_after_it_is_on_disk(workspace: Workspace) -> None:
    """Else two tables of one query could disagree about a run that commits between them."""
    import pyarrow.parquet as pq

    write_run(workspace, "r1", {}, kind="x")
    path = workspace.tables / "commits" / "r1.parquet"
    stamped = pq.read_table(path)["shows_from"].cast(pa.int64())[0].as_py() / 1e6
    assert stamped > path.stat().st_mtime
