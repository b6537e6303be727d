"""Questions to one connection, so that the views are made once and not for every query."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.catalog.warehouse import connect
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow

Ask = Callable[[str], "pyarrow.Table"]


@contextmanager
def asking(workspace: Workspace) -> Iterator[Ask]:
    """A function that answers one SELECT, over the workspace as it stands."""
    with connect(workspace) as connection:
        yield lambda sql: connection.sql(sql).to_arrow_table()
