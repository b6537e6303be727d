"""Rows as a table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with the first row's names as its heading; numbers in at most four digits."""
    if not rows:
        return ""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(cell(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def cell(value: Any) -> str:
    """One value: nothing for what is missing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return number(value)
    return str(value).replace("|", "\\|").replace("\n", " ")


def number(value: float | None) -> str:
    """Four significant digits, without an exponent where that is short."""
    if value is None:
        return "–"
    value = float(value)  # decimals of SQL keep their zeros
    text = f"{value:.4g}"
    return (f"{value:.6f}".rstrip("0") if "e-0" in text else text).replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """Both ends of an interval; – where there is none."""
    return "–" if low is None or high is None else f"{number(low)} to {number(high)}"
