"""What a labeller is, and how labels of characters become labels of tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.corpus.documents import Document

if TYPE_CHECKING:
    import numpy as np

Span = tuple[int, int]
Spans = Mapping[str, Sequence[Span]]


@dataclass(frozen=True)
class Labeller:
    """Labels of a kind of text; the version is raised by hand when its spans change.

    `spans` gives, per label, half-open spans of characters, or None for a document that cannot be
    read as this kind of text.
    """

    name: str
    version: int
    labels: tuple[str, ...]
    spans: Callable[[Document], Spans | None]


def token_labels(
    text: str, offsets: Sequence[Span], spans: Spans, labels: Sequence[str]
) -> np.ndarray:
    """Labels (n, L) bool of tokens that lie at character `offsets` (n, 2) of the text.

    One character decides for a token: its first that is no whitespace, or its last where all are.
    (A token often begins with the space before a word, or is a line's end with the next line's
    indentation.) Tokens that hold parts of one character share it.
    """
    import numpy as np

    at = deciding(text, offsets)
    found = np.zeros((len(offsets), len(labels)), dtype=bool)
    for column, label in enumerate(labels):
        inside = np.zeros(len(text) + 1, dtype=bool)
        for start, stop in spans.get(label, ()):
            inside[start:stop] = True
        found[:, column] = inside[at]
    return found


def deciding(text: str, offsets: Sequence[Span]) -> np.ndarray:
    """The character (n,) that decides for each token.

    A token begins where the one before it ended, unless it says that it begins earlier: some
    tokenizers leave whitespace out of their offsets.
    """
    import numpy as np

    found = np.zeros(len(offsets), dtype=np.int64)
    before = 0
    for i, (start, stop) in enumerate(offsets):
        begin = min(start, before)
        solid = len(text[begin:stop]) - len(text[begin:stop].lstrip())
        found[i] = begin + solid if begin + solid < stop else max(begin, stop - 1)
        before = max(before, stop)
    return found.clip(0, max(len(text) - 1, 0))
