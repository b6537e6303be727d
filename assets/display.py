"""Values as a person reads them in the UI."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence

import dagster as dg

_DIGITS = 4
_MOST_ROWS = 100


def picture(png: bytes, title: str) -> dg.MetadataValue:
    """A picture shown inline, as markdown with a data URI."""
    text = base64.b64encode(png).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{text})")


def number(value: float) -> dg.MetadataValue:
    """A number rounded to 4 significant digits; text where it is not finite."""
    if not math.isfinite(value):
        return dg.MetadataValue.text(str(value))
    return dg.MetadataValue.float(float(f"{value:.{_DIGITS}g}"))


def numbers(values: Mapping[str, float]) -> dict[str, dg.MetadataValue]:
    """Each value as a rounded number."""
    return {name: number(value) for name, value in values.items()}


def table(rows: Sequence[Mapping[str, object]]) -> dg.MetadataValue:
    """A markdown table of rows with the same keys, in their order."""
    return dg.MetadataValue.md(markdown_table(rows))


def markdown_table(rows: Sequence[Mapping[str, object]]) -> str:
    """The rows as markdown, the first hundred; a missing value is a dash."""
    if not rows:
        return "*nothing yet*"
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += [
        "| " + " | ".join(_cell(row[name]) for name in head) + " |" for row in rows[:_MOST_ROWS]
    ]
    if len(rows) > _MOST_ROWS:
        lines.append(f"\n*the first {_MOST_ROWS} of {len(rows)} rows; `sae sql` has all*")
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    return str(value).replace("|", "\\|")
