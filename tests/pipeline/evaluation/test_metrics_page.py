from __future__ import annotations

from pathlib import Path

from pipeline.evaluation.metrics_page import metrics_page
from sae_core.metrics import definitions

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_the_page_in_docs_is_current() -> None:
    """Written by `make docs`."""
    assert PAGE.read_text(encoding="utf-8") == metrics_page()


def test_every_metric_is_on_the_page() -> None:
    page = metrics_page()
    for definition in definitions():
        assert f"## {definition.name}\n" in page
        assert definition.formula in page
