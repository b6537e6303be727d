"""What a page says already: results of studies that the workspace at hand does not hold stay."""

from __future__ import annotations

import re
from collections.abc import Sequence

RUN, NOT_RUN = "**Run**", "**Not run.**"
CHANGED = "**Not run** as it stands here: what is compared or measured has changed since."
_HEADING = re.compile(r"^## (\w+)$", re.MULTILINE)


def sections(page: str) -> dict[str, str]:
    """The texts under the page's headings by name; none of a page that does not exist: of ""."""
    _, *parts = _HEADING.split(page)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def kept(before: str | None, defined: Sequence[str], *, end: str | None = None) -> str:
    """The results that a section holds, from where its run is told to `end` or to its own end.

    They count where the section holds all of `defined`, which says what they are results of: a
    study whose arms have changed has none, and that is said instead.
    """
    if before is None or RUN not in before:
        return NOT_RUN
    if not all(part in before for part in defined):
        return CHANGED
    text = RUN + before.split(RUN, 1)[1]
    return (text.split(end, 1)[0] if end else text).strip()
