"""Which tokens of a split are rows of a store, and where each comes from.

Rule: every token whose id is not special is a row, in packed order, until the token budget is
reached. Row i is then the same token at every site and in every weights variant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import StudyError

if TYPE_CHECKING:
    from pipeline.corpus.pack import PackedCorpus

_BLOCK = 4096


@dataclass(frozen=True)
class TokenRows:
    """The rows 0..n of a split's first `packed_rows` packed rows of `context` tokens.

    A token's flat position is packed row · context + position in it. `special` and
    `document_starts` are sorted flat positions, of special tokens and of documents' first tokens.
    """

    n: int
    context: int
    packed_rows: int
    special: np.ndarray
    document_starts: np.ndarray

    def first_row(self, packed_row: int | np.ndarray) -> np.ndarray:
        """The number of the first row at or after the start of a packed row."""
        flat = np.asarray(packed_row, np.int64) * self.context
        return np.minimum(self.row_of(flat), self.n)

    def row_of(self, flat: np.ndarray) -> np.ndarray:
        """The number of rows before each flat position: the row there, if it is one."""
        return flat - np.searchsorted(self.special, flat)

    def flat(self, rows: np.ndarray) -> np.ndarray:
        """The flat position of each row (m,), int64."""
        rows_before = self.special - np.arange(len(self.special))
        return rows + np.searchsorted(rows_before, rows, side="right")

    def document(self, flat: np.ndarray) -> np.ndarray:
        """The running number of the document at each flat position."""
        return np.searchsorted(self.document_starts, flat, side="right") - 1

    def kept(self, start: int, stop: int) -> np.ndarray:
        """Which tokens of packed rows start..stop are rows: indices into the flattened batch."""
        first, last = self.first_row(np.array([start, stop]))
        return self.flat(np.arange(first, last)) - start * self.context


def token_rows(corpus: PackedCorpus, split: str, *, tokens: int | None) -> TokenRows:
    """The first `tokens` rows of a split, None: all.

    Raises StudyError where the split has fewer.
    """
    available = corpus.n_tokens(split)
    if available == 0:
        raise StudyError(
            f"The {split} split of the corpus holds no tokens besides special ones. "
            "Give the corpus more text."
        )
    wanted = available if tokens is None else tokens
    if wanted > available:
        raise StudyError(
            f"{wanted:,} tokens are asked for, but the {split} split of the corpus holds "
            f"{available:,}. Lower harvest.tokens (SAEs may train for several epochs), or give "
            "the corpus more text."
        )
    special, starts, packed_rows = _scan(corpus, split, wanted)
    return TokenRows(wanted, corpus.context, packed_rows, special, starts)


def _scan(corpus: PackedCorpus, split: str, wanted: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Special positions, document starts and packed rows needed for `wanted` rows."""
    ids = np.array(sorted(corpus.special_ids), np.int64)
    specials: list[np.ndarray] = []
    starts: list[np.ndarray] = []
    counted, last_document = 0, None
    for first in range(0, corpus.n_rows(split), _BLOCK):
        tokens, documents = corpus.tokens(split, first, min(first + _BLOCK, corpus.n_rows(split)))
        is_special = np.isin(tokens, ids)
        filled = counted + np.cumsum((~is_special).sum(axis=1))
        needed = min(int(np.searchsorted(filled, wanted)) + 1, len(tokens))
        flat = documents[:needed].ravel()
        before = flat[0] - 1 if last_document is None else last_document
        offset = first * corpus.context
        specials.append(np.flatnonzero(is_special[:needed]) + offset)
        starts.append(np.flatnonzero(np.diff(flat, prepend=before)) + offset)
        counted, last_document = int(filled[needed - 1]), flat[-1]
        if counted >= wanted:
            return np.concatenate(specials), np.concatenate(starts), first + needed
    raise StudyError(
        f"The {split} split of the corpus says it holds {corpus.n_tokens(split):,} tokens, but "
        f"{counted:,} were found. Remove the folder {corpus.path} and pack it again."
    )
