"""One look at the text per command: a packed corpus that was found stays the command's corpus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.corpus.packed import PackedCorpus

_found: ContextVar[dict[str, PackedCorpus] | None] = ContextVar("found", default=None)


@contextmanager
def one_look() -> Iterator[None]:
    """Inside the block a packed corpus is looked for until it is found, then taken as found.

    To see whether a corpus is packed means looking at every file of its text, and each hash of each
    cell asks for it. Text that changes while a command runs counts from the next command on, so
    that all hashes of one command rest on the same text. A block inside another one is part of it.
    """
    if _found.get() is not None:
        yield
        return
    token = _found.set({})
    try:
        yield
    finally:
        _found.reset(token)


def found() -> dict[str, PackedCorpus]:
    """What was found in this block, by what was looked for; outside of one nothing is kept."""
    known = _found.get()
    return {} if known is None else known
