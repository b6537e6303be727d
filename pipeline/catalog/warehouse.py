"""SQL over a workspace: the views file that any DuckDB shell opens, and our own read-only door."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import atomic
from pipeline.catalog import parts, statement
from pipeline.catalog.views import quoted, statements
from pipeline.errors import UserError
from pipeline.hashing import content_hash
from pipeline.locks import turn
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    import duckdb
    import pyarrow

# The oldest format that keeps comments on views: any DuckDB since 1.0 opens it.
_STORAGE = "v1.0.0"

_GONE = "No such file or directory"
_ATTEMPTS = 5


class SqlError(UserError):
    """A query that cannot be answered."""


def refresh(workspace: Workspace) -> bool:
    """Makes the views file, where its SQL changed; whether it is current now.

    It is left as it is while somebody has changes to it open (a .wal file beside it).
    """
    parts.lay_out(workspace)
    sql = statements(quoted(_literal(workspace.tables)))
    digest = content_hash([_STORAGE, sql])
    if workspace.warehouse.exists() and _digest(workspace) == digest:
        return True
    with turn(workspace, "warehouse"):
        if workspace.warehouse.with_name(f"{workspace.warehouse.name}.wal").exists():
            return False
        _replace(workspace, sql, digest)
        return True


def connect(workspace: Workspace) -> duckdb.DuckDBPyConnection:
    """A connection in memory with the views; it reaches no file outside the workspace's tables."""
    import duckdb

    parts.lay_out(workspace)
    connection = duckdb.connect(":memory:")
    # Views look at the files they are made over: made over empty ones, then pointed at the rows.
    connection.execute(f"SET VARIABLE tables = {quoted(_literal(parts.empty_tables(workspace)))}")
    connection.execute(_script(statements("getvariable('tables')")))
    connection.execute(f"SET VARIABLE tables = {quoted(_literal(workspace.tables))}")
    connection.execute("SET python_enable_replacements = false")
    folders = {f"{workspace.tables}/", f"{_literal(workspace.tables)}/"}
    connection.execute(f"SET allowed_directories = [{', '.join(map(quoted, sorted(folders)))}]")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def query(workspace: Workspace, sql: str) -> pyarrow.Table:
    """The answer to one SELECT, or to EXPLAIN of one; raises SqlError for anything else."""
    import duckdb

    checked = statement.read_only(sql)
    for attempt in range(_ATTEMPTS):
        with connect(workspace) as connection:
            try:
                return connection.sql(checked).to_arrow_table()
            except duckdb.Error as error:
                # `sae gc` may remove a compacted part between our listing it and our opening it.
                if _GONE in str(error) and attempt < _ATTEMPTS - 1:
                    continue
                raise SqlError(_explained(str(error))) from error
    raise AssertionError("the last attempt returns or raises")


def _literal(folder: Path) -> str:
    """A folder's path as the part of a glob that means just this folder."""
    return re.sub(r"([*?\[])", r"[\1]", str(folder))


def _script(sql: list[str]) -> str:
    """One script in one transaction: hundreds of comments are slow one by one."""
    return ";\n".join(["BEGIN", *sql, "COMMIT"])


def _explained(text: str) -> str:
    if "Permission" in text or "file system operations are disabled" in text:
        text += "\nA query reads the workspace's tables and no other file."
    elif "Referenced column" in text:
        text += (
            "\n`sae sql 'DESCRIBE evaluations'` lists a view's columns, docs/schema.md explains."
        )
    elif "Table with name" in text:
        text += "\n`sae sql 'SHOW TABLES'` lists the tables; docs/schema.md explains them."
    return text


def _digest(workspace: Workspace) -> str:
    mark = workspace.tables / ".views"
    return mark.read_text() if mark.exists() else ""


def _replace(workspace: Workspace, sql: list[str], digest: str) -> None:
    import duckdb

    with atomic.writing(workspace.warehouse) as temporary:
        name = f"new_{secrets.token_hex(4)}"
        connection = duckdb.connect(":memory:")
        connection.execute(
            f"ATTACH {quoted(str(temporary))} AS {name} (STORAGE_VERSION '{_STORAGE}')"
        )
        connection.execute(f"USE {name}")
        connection.execute(_script(sql))
        connection.execute("USE memory")
        connection.execute(f"DETACH {name}")
        connection.close()
    atomic.write_bytes(workspace.tables / ".views", digest.encode())
