"""The schema as a page: `python -m pipeline.catalog.document > docs/schema.md`."""

from __future__ import annotations

import sys
import tempfile

from pipeline.catalog.views import views
from pipeline.catalog.warehouse import connect
from pipeline.workspace import Workspace

_HEAD = """# Tables and views

Made from the code by `python -m pipeline.catalog.document > docs/schema.md`; the same texts are
comments in the database: `SELECT view_name, comment FROM duckdb_views()`.

Every row carries its `run`; rows show when their run is in `commits`, all at once. Of several
runs about the same thing, views show the newest.
"""


def page() -> str:
    """The page, in Markdown: every view with its columns, types and comments."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(folder)
        types = _types(workspace)
        shown = [view for view in views("''") if not view.name.startswith("internal.")]
    sections = []
    for view in shown:
        rows = [
            f"| `{name}` | {types[view.name, name]} | {_escaped(comment)} |"
            for name, comment in view.columns
        ]
        head = (
            f"## {view.name}\n\n{view.comment}\n\n| column | type | what it holds |\n|---|---|---|"
        )
        sections.append("\n".join([head, *rows]))
    return "\n\n".join([_HEAD.rstrip("\n"), *sections]) + "\n"


def _types(workspace: Workspace) -> dict[tuple[str, str], str]:
    with connect(workspace) as connection:
        found = connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() "
            "WHERE schema_name = 'main'"
        ).fetchall()
    return {(view, column): kind for view, column, kind in found}


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.write(page())
