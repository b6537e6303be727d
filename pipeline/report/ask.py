"""Questions to one connection, so that the views are made once and not for every query."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.catalog.warehouse import connect, query
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow

Ask = Callable[[str], "pyarrow.Table"]


@contextmanager
def asking(workspace: Workspace) -> Iterator[Ask]:
    """A function that answers one SELECT, over the workspace as it stands."""
    import duckdb

    with connect(workspace) as connection:

        def ask(sql: str) -> pyarrow.Table:
            try:
                return connection.sql(sql).to_arrow_table()
            except duckdb.Error:
                # A part that was compacted meanwhile: `query` asks again, or says what is wrong.
                return query(workspace, sql)

        yield ask
