"""Rows grouped by what can be compared: the same model, the same site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def by_site(rows: Sequence[Mapping[str, Any]], *more: str) -> dict[str, list[Mapping[str, Any]]]:
    """`model.site`, and further columns after it, -> its rows; in the rows' order."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        name = " ".join([f"{row['model']}.{row['site']}", *(str(row[column]) for column in more)])
        groups.setdefault(name, []).append(row)
    return groups
