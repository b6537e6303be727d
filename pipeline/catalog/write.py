"""Writing results: a run's rows appear in all tables at once, or not at all."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pipeline import atomic
from pipeline.catalog import parts
from pipeline.catalog.provenance import code_commit, package_version
from pipeline.catalog.tables import COMMITS, TABLES
from pipeline.study.names import check_name
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow

# A commit says from when on it shows, a little ahead of its appearance on disk. A query compares
# with its own start, so all tables of one query agree on which runs there are, although it lists
# their folders one after the other.
_AHEAD = timedelta(milliseconds=60)
_ENOUGH = timedelta(milliseconds=40)


def new_run_id(kind: str) -> str:
    """A unique run id; ids sort by time."""
    check_name(kind, "kind of run")
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{kind}-{secrets.token_hex(4)}"


def write_run(
    workspace: Workspace,
    run: str,
    rows: Mapping[str, parts.Rows | pyarrow.Table],
    *,
    kind: str,
) -> None:
    """Writes a run's rows, one part per table, and commits them: when it returns, they show.

    Each row has all of its table's columns but `run`. Raises ValueError for an unknown table,
    for unknown or missing columns, and for a run that is committed already.
    """
    check_name(run, "run")
    unknown = sorted(set(rows) - (TABLES.keys() - {"commits"}))
    if unknown:
        raise ValueError(f"unknown tables: {', '.join(unknown)}. Tables: {', '.join(TABLES)}.")
    if parts.part(workspace, "commits", run).exists():
        raise ValueError(f"run {run!r} is committed already; a run is written once.")
    tables = {name: parts.as_table(TABLES[name], given, run) for name, given in rows.items()}
    for name, table in tables.items():
        if table.num_rows:
            parts.write(parts.part(workspace, name, run), table)
    row = {"kind": kind, "package_version": package_version(), "commit": code_commit()}
    commit(workspace, run, [{"run": run, **row}])


def commit(workspace: Workspace, name: str, rows: list[dict[str, object]]) -> None:
    """Writes the commit record `name`; its own row, which has no `committed_at`, gets it here.

    Returns when the record shows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = parts.part(workspace, "commits", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    ahead, shows = _AHEAD, _now()
    with atomic.no_space(path):
        try:
            while shows - _now() < _ENOUGH:
                shows, ahead = _now() + ahead, 2 * ahead
                stamped = [{"committed_at": shows, **row, "shows_from": shows} for row in rows]
                table = pa.Table.from_pylist(stamped, schema=parts.schema(COMMITS))
                pq.write_table(table, temporary, compression="zstd")
                atomic.flush(temporary)
            os.replace(temporary, path)
            atomic.flush(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    time.sleep(max(0.0, (shows - _now()).total_seconds()))


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
