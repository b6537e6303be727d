"""`make docs`: writes the generated pages of docs/ from the code."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def pages() -> dict[str, str]:
    """File name in docs/ -> the text it should have."""
    from pipeline.catalog import document
    from pipeline.evaluation.metrics_page import metrics_page
    from pipeline.exchange.page import exchange_page
    from pipeline.study.architectures_page import architectures_page

    return {
        "architectures.md": architectures_page(),
        "exchange.md": exchange_page(),
        "metrics.md": metrics_page(),
        "schema.md": document.page(),
    }


def main() -> None:
    """Writes every page."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
