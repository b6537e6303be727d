"""Parquet parts: their schema, their folders, their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import atomic
from pipeline.catalog.tables import COMMITS, RUN, SHOWS_FROM, TABLES, Table
from pipeline.hashing import content_hash, short
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow

Rows = Sequence[Mapping[str, object]]


def schema(table: Table) -> pyarrow.Schema:
    """The Arrow schema of a table's parts, `run` first."""
    import pyarrow as pa

    types = {
        "VARCHAR": pa.string(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "BOOLEAN": pa.bool_(),
        "TIMESTAMP": pa.timestamp("us"),
        "BIGINT[]": pa.list_(pa.int64()),
        "DOUBLE[]": pa.list_(pa.float64()),
    }
    hidden = (SHOWS_FROM,) if table is COMMITS else ()
    columns = (RUN, *table.columns, *hidden)
    return pa.schema([(column.name, types[column.type]) for column in columns])


def part(workspace: Workspace, table: str, name: str) -> Path:
    """The file of one part."""
    return workspace.tables / table / f"{name}.parquet"


def lay_out(workspace: Workspace) -> None:
    """Puts a part without rows into each table's folder, so that views bind before anything exists.

    Its name carries the schema's hash: parts are never written over. The same stands in a tree of
    its own, where views are made without a look at the rows.
    """
    for table in TABLES.values():
        digest = short(content_hash([[c.name, c.type] for c in table.columns]))
        for root in (workspace.tables, empty_tables(workspace)):
            path = root / table.name / f"_schema-{digest}.parquet"
            if not path.exists():
                write(path, schema(table).empty_table())


def empty_tables(workspace: Workspace) -> Path:
    """A tree like `tables` whose parts have no rows."""
    return workspace.tables / ".empty"


def write(path: Path, table: pyarrow.Table) -> None:
    """Writes one part."""
    import pyarrow.parquet as pq

    with atomic.writing(path, n_bytes=table.nbytes) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def as_table(table: Table, rows: Rows | pyarrow.Table, run: str) -> pyarrow.Table:
    """Rows as an Arrow table with `run`; raises ValueError for unknown or missing columns."""
    import pyarrow as pa

    names = {column.name for column in table.columns}
    if isinstance(rows, pa.Table):
        _check_columns(table, set(rows.column_names), names)
        rows = rows.append_column("run", pa.array([run] * rows.num_rows, pa.string()))
        return rows.select(schema(table).names).cast(schema(table))
    for row in rows:
        _check_columns(table, set(row), names)
    columns = {name: [row[name] for row in rows] for name in names} | {"run": [run] * len(rows)}
    try:
        return pa.table(columns, schema=schema(table))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"table {table.name}: a value does not fit its column: {error}") from error


def widened(rows: pyarrow.Table, to: pyarrow.Schema) -> pyarrow.Table:
    """Rows of an older schema in the present one; columns they did not have become NULL."""
    import pyarrow as pa

    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in to
    ]
    return pa.table(columns, names=to.names).cast(to)


def _check_columns(table: Table, given: set[str], names: set[str]) -> None:
    problems = [f"unknown column {name!r}" for name in sorted(given - names)]
    problems += [f"missing column {name!r}" for name in sorted(names - given)]
    if problems:
        raise ValueError(
            f"table {table.name}: {'; '.join(problems)}. "
            f"Its columns: {', '.join(column.name for column in table.columns)}."
        )
