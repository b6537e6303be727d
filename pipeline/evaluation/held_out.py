"""The held-out text that SAEs are measured on: rows spread evenly over the split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.corpus.pack import PackedCorpus

SPLIT = "held_out"


@dataclass(frozen=True)
class TokenRows:
    """Packed rows: `tokens`, `documents`, `places` (b, t) int64, and which tokens are `special`.

    Documents are numbered as in `HeldOut`; a place is row · t + position there. `packed_rows`:
    the rows' numbers in the split.
    """

    tokens: torch.Tensor
    documents: torch.Tensor
    special: torch.Tensor
    places: torch.Tensor
    packed_rows: Sequence[int]


@dataclass(frozen=True)
class HeldOut:
    """Rows (r, t) of the split, and the corpus' numbers (D,) of the documents in them.

    `packed_rows` (r,): the rows' numbers in the split.
    """

    tokens: np.ndarray
    document_index: np.ndarray
    documents: np.ndarray
    special_ids: frozenset[int]
    packed_rows: np.ndarray

    @property
    def n_tokens(self) -> int:
        """Tokens that are not special."""
        return int((~self._special(self.tokens)).sum())

    def batches(self, n_rows: int) -> Iterator[TokenRows]:
        """The rows in order, at most `n_rows` at a time."""
        for start in range(0, len(self.tokens), n_rows):
            part = slice(start, start + n_rows)
            tokens = self.tokens[part]
            yield TokenRows(
                torch.from_numpy(tokens.astype(np.int64)),
                torch.from_numpy(self.document_index[part].astype(np.int64)),
                torch.from_numpy(self._special(tokens)),
                torch.arange(start * tokens.shape[1], (start + len(tokens)) * tokens.shape[1]).view(
                    tokens.shape
                ),
                self.packed_rows[part].tolist(),
            )

    def thinned(self, n_tokens: int) -> HeldOut:
        """Every m-th row, m the largest that leaves at least `n_tokens` tokens, or all rows."""
        step = max(1, self.tokens.size // max(n_tokens, 1))
        kept = slice(None, None, step)
        return replace(
            self,
            tokens=self.tokens[kept],
            document_index=self.document_index[kept],
            packed_rows=self.packed_rows[kept],
        )

    def _special(self, tokens: np.ndarray) -> np.ndarray:
        return np.isin(tokens, sorted(self.special_ids))


def read_held_out(corpus: PackedCorpus, n_tokens: int) -> HeldOut:
    """Rows spread evenly over the held-out split, so many that they hold `n_tokens` tokens.

    Spread, so that the documents are many: the intervals resample documents. All rows where the
    split holds fewer tokens. Raises UserError where the split has no rows.
    """
    n_rows = corpus.n_rows(SPLIT)
    if n_rows == 0:
        raise UserError(
            "the corpus has no held-out rows: its held-out documents do not fill one row of "
            f"{corpus.context} tokens. Add documents, or raise corpus.held_out_share."
        )
    special = sorted(corpus.special_ids)
    wanted, missing = 0, n_tokens
    while missing > 0 and wanted < n_rows:
        wanted = min(n_rows, wanted + -(-missing // corpus.context))
        places, tokens, documents = _spread(corpus, wanted, n_rows)
        missing = n_tokens - int((~np.isin(tokens, special)).sum())
    documents, index = np.unique(documents, return_inverse=True)
    index = index.reshape(tokens.shape).astype(np.int32)
    return HeldOut(tokens, index, documents.astype(np.int64), frozenset(special), places)


def _spread(
    corpus: PackedCorpus, wanted: int, n_rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    places = np.arange(wanted) * n_rows // wanted
    rows = [corpus.tokens(SPLIT, int(place), int(place) + 1) for place in places]
    return places, np.concatenate([r[0] for r in rows]), np.concatenate([r[1] for r in rows])
