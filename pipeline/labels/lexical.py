"""Labels of any text, from its characters alone.

They say little of what a model understands, for most follow from the token itself: read them beside
the probes `token` and `bigram`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.corpus.documents import Document
from pipeline.labels.labeller import Labeller, Span, Spans


def digit(text: str) -> Iterator[Span]:
    """Digits."""
    return _matches(r"\d+", text)


def capitalised(text: str) -> Iterator[Span]:
    """Words that begin with a capital letter and go on in small ones."""
    return (span for span in _matches(r"[^\W\d_]+", text) if text[slice(*span)].istitle())


def all_capitals(text: str) -> Iterator[Span]:
    """Words of two or more capital letters."""
    return (span for span in _matches(r"[^\W\d_]{2,}", text) if text[slice(*span)].isupper())


def punctuation(text: str) -> Iterator[Span]:
    """What is neither letter, digit, underscore nor whitespace."""
    return _matches(r"[^\w\s]+", text)


def whitespace(text: str) -> Iterator[Span]:
    """Whitespace."""
    return _matches(r"\s+", text)


def line_start(text: str) -> Iterator[Span]:
    """A line's first word, or other run of characters without a space."""
    return _matches(r"(?m)^\S+", text)


def line_end(text: str) -> Iterator[Span]:
    """A line's last word, or other run of characters without a space."""
    return _matches(r"(?m)\S+$", text)


def in_quotes(text: str) -> Iterator[Span]:
    """Between two double quotes of one line."""
    return ((start + 1, stop - 1) for start, stop in _matches(r'"[^"\n]+"|“[^”\n]+”', text))


def in_round_brackets(text: str) -> Iterator[Span]:
    """Between round brackets that lie in one line and hold no others."""
    return ((start + 1, stop - 1) for start, stop in _matches(r"\([^()\n]+\)", text))


def repeated_word(text: str) -> Iterator[Span]:
    """A word of four letters or more that occurred in the text before."""
    seen: set[str] = set()
    for start, stop in _matches(r"[^\W\d_]{4,}", text):
        word = text[start:stop].lower()
        if word in seen:
            yield start, stop
        seen.add(word)


_LABELS = (
    digit,
    capitalised,
    all_capitals,
    punctuation,
    whitespace,
    line_start,
    line_end,
    in_quotes,
    in_round_brackets,
    repeated_word,
)


def _spans(document: Document) -> Spans:
    return {label.__name__: list(label(document.text)) for label in _LABELS}


def _matches(pattern: str, text: str) -> Iterator[Span]:
    return (match.span() for match in re.finditer(pattern, text))


LABELLER = Labeller("lexical", 1, tuple(label.__name__ for label in _LABELS), _spans)
