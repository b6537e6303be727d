from __future__ import annotations

from pathlib import Path

from pipeline.catalog.document import page
from pipeline.catalog.tables import TABLES


def test_the_page_on_disk_is_the_one_the_code_makes() -> None:
    path = Path(__file__).parents[3] / "docs" / "schema.md"
    assert path.read_text() == page(), "run: python -m pipeline.catalog.document > docs/schema.md"


def test_the_page_explains_every_column() -> None:
    text = page()
    for table in TABLES.values():
        assert f"## {table.name}\n\n{table.comment}" in text
        for column in table.columns:
            assert f"| `{column.name}` | {column.type} | {column.comment}" in text
