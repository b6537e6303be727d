from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.study.architectures_page import architectures_page
from sae_core.architectures import config_class, names

PAGE = Path(__file__).parents[3] / "docs" / "architectures.md"


def test_the_page_in_docs_is_current() -> None:
    """Written by `make docs`."""
    assert PAGE.read_text(encoding="utf-8") == architectures_page()


@pytest.mark.parametrize("name", names())
def test_every_architecture_has_its_formula_reference_and_fields(name: str) -> None:
    page = architectures_page()
    section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
    for part in ("Idea", "Formula", "Reference", "Ours differs"):
        assert f"**{part}:** " in section
    for field in config_class(name).model_fields:
        assert f"| `{field}` |" in section + page.split("\n## ")[1] or field == "architecture"


def test_a_changed_default_is_shown_where_it_differs() -> None:
    section = architectures_page().split("\n## jumprelu\n")[1].split("\n## ")[0]
    assert "| `beta1` | 0 |" in section
    assert "| `beta2` |" not in section


def test_no_line_of_a_table_is_broken_by_its_text() -> None:
    rows = [line for line in architectures_page().splitlines() if line.startswith("| ")]
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
