"""Questions that researchers ask, each with its query: read from one annotated SQL file.

A question begins with `-- # ` and its text; comment lines say what to bear in mind, and lines
`-- expect: ` what must hold of the answer in any workspace that can answer it:
`ascending COLUMN`, `descending COLUMN`, `COLUMN in [low, high]`, the last also with `or null`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_QUESTION, _EXPECT = "-- # ", "-- expect: "
_ORDER = re.compile(r"(ascending|descending) (\w+)")
_RANGE = re.compile(r"(\w+) in \[(\S+), (\S+)\]( or null)?")


@dataclass(frozen=True)
class Question:
    """One question: its text, what to bear in mind, its query, what must hold of the answer."""

    title: str
    remark: str
    sql: str
    expected: tuple[str, ...]


def read_questions(text: str) -> list[Question]:
    """The questions of a file's text, in order. Raises ValueError for text that is none."""
    first, *parts = re.split(f"^{_QUESTION}", text, flags=re.MULTILINE)
    if first.strip() or not parts:
        raise ValueError(f"a file of questions begins with a line {_QUESTION!r} and a question.")
    return [_question(part) for part in parts]


def _question(part: str) -> Question:
    title, *lines = part.rstrip().splitlines()
    head = [line for line in lines if line.startswith("-- ")]
    query = "\n".join(lines[len(head) :]).strip()
    if lines[: len(head)] != head or not query.endswith(";"):
        raise ValueError(f"{title!r}: comments come first, then one query that ends with ';'.")
    remark = [line.removeprefix("-- ") for line in head if not line.startswith(_EXPECT)]
    expected = [line.removeprefix(_EXPECT) for line in head if line.startswith(_EXPECT)]
    return Question(title.strip(), "\n".join(remark), query.removesuffix(";"), tuple(expected))


def broken(question: Question, rows: Sequence[dict[str, Any]]) -> list[str]:
    """What does not hold of an answer, one sentence each; an answer without rows breaks all.

    Raises ValueError for an expectation that is not understood.
    """
    if not rows:
        return ["there are no rows"]
    return [told for line in question.expected if (told := _told(line, rows)) is not None]


def _told(line: str, rows: Sequence[dict[str, Any]]) -> str | None:
    if order := _ORDER.fullmatch(line):
        values = [row[order[2]] for row in rows]
        ordered = sorted(values, reverse=order[1] == "descending")
        return None if values == ordered else f"{order[2]} is not {order[1]}: {values}"
    if inside := _RANGE.fullmatch(line):
        name, low, high, nullable = inside[1], float(inside[2]), float(inside[3]), inside[4]
        outside = [
            row[name]
            for row in rows
            if not (bool(nullable) if row[name] is None else low <= row[name] <= high)
        ]
        return f"{name} is outside [{low}, {high}]: {outside}" if outside else None
    raise ValueError(
        f"expect: {line!r} is not understood. Write 'ascending COLUMN', 'descending COLUMN' or "
        "'COLUMN in [low, high]', also with 'or null'."
    )
