"""Tables and figures as HTML; every text is escaped here."""

from __future__ import annotations

import datetime
import math
from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any

from pipeline.report.panel import MOST_PANELS, Panel

_MISSING = '<span class="missing">–</span>'
_DIGITS = 4
_HASH = 10


def number(value: Any) -> str:
    """A value as text: 4 significant digits, thousands apart."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return str(value)


def with_interval(row: Mapping[str, Any], metric: str) -> str:
    """A value with its interval under it, as HTML."""
    if row[metric] is None:
        return _MISSING
    low, high = row[f"{metric}_ci_low"], row[f"{metric}_ci_high"]
    known = low is not None or high is not None
    return with_note(number(row[metric]), f"{number(low)} to {number(high)}" if known else "")


def with_note(text: str, note: str) -> str:
    """A text with a smaller one under it, as HTML."""
    under = f'<span class="interval">{escape(note)}</span>' if note else ""
    return escape(text) + under


def cell(name: str, value: Any) -> str:
    """One value as HTML; hashes are cut short, the whole one is its title."""
    text = number(value)
    if text == "–":
        return _MISSING
    if name.endswith(("hash", "commit")) and len(text) > _HASH:
        return f'<code title="{escape(text)}">{escape(text[:_HASH])}</code>'
    return breakable(text) if name.startswith(("sae", "source", "example")) else escape(text)


def breakable(text: str) -> str:
    """An id as HTML: a line may end after the slash, or after a dot before it."""
    source, slash, key = escape(text).partition("/")
    return source.replace(".", ".<wbr>") + (f"{slash}<wbr>{key}" if slash else "")


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Collection[int]
) -> str:
    """A table whose cells are HTML already; it scrolls inside its own box.

    `numbers` are the places of the columns whose lines do not break.
    """
    if not rows:
        return f'<p class="empty">{escape(caption)}: nothing yet.</p>'
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join(_line(row, numbers) for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{names}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def records(caption: str, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """A table of rows: column -> its heading."""
    cells = [[cell(name, row[name]) for name in names] for row in rows]
    numbers = [
        place for place, name in enumerate(names) if not any(_is_prose(r[name]) for r in rows)
    ]
    return table(caption, list(names.values()), cells, numbers=numbers)


def figures(panels: Sequence[Panel]) -> str:
    """Figures side by side where there is room; beyond the most that a page holds, a sentence."""
    shown = "".join(
        f'<figure class="{"wide" if panel.size[0] > 4.5 else "panel"}" role="img" '
        f'aria-label="{escape(panel.label)}">{panel.inline()}</figure>'
        for panel in panels[:MOST_PANELS]
    )
    over = len(panels) - MOST_PANELS
    note = (
        f'<p class="note">{over} more are left out; --figures writes all.</p>' if over > 0 else ""
    )
    return f'<div class="figures">{shown}</div>{note}'


def details(summary: str, body: str) -> str:
    """A part that is closed at first; `body` is HTML."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def code(text: str) -> str:
    """Text as it stands, in a box that scrolls."""
    return f'<pre tabindex="0"><code>{escape(text.strip())}</code></pre>'


def _is_prose(value: Any) -> bool:
    return isinstance(value, str) and " " in value


def _line(row: Sequence[str], numbers: Collection[int]) -> str:
    first, *rest = row
    cells = "".join(
        f'<td class="number">{one}</td>' if i in numbers else f"<td>{one}</td>"
        for i, one in enumerate(rest, start=1)
    )
    return f'<tr><th scope="row">{first}</th>{cells}</tr>'
