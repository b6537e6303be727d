"""The held-out text that SAEs are measured on: the first packed rows of the split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.corpus.pack import PackedCorpus

SPLIT = "held_out"


@dataclass(frozen=True)
class TokenRows:
    """Packed rows: `tokens`, `documents` (b, t) int64; documents are numbered as in `HeldOut`."""

    tokens: torch.Tensor
    documents: torch.Tensor
    special: torch.Tensor


@dataclass(frozen=True)
class HeldOut:
    """Rows (r, t) of the split, and the corpus' numbers (D,) of the documents in them."""

    tokens: np.ndarray
    document_index: np.ndarray
    documents: np.ndarray
    special_ids: frozenset[int]

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
            )

    def _special(self, tokens: np.ndarray) -> np.ndarray:
        return np.isin(tokens, sorted(self.special_ids))


def read_held_out(corpus: PackedCorpus, n_tokens: int) -> HeldOut:
    """The first whole rows of the held-out split that hold `n_tokens` tokens, or all there are.

    Raises UserError where the split has no rows.
    """
    n_rows = corpus.n_rows(SPLIT)
    if n_rows == 0:
        raise UserError(
            "the corpus has no held-out rows: its held-out documents do not fill one row of "
            f"{corpus.context} tokens. Add documents, or raise corpus.held_out_share."
        )
    special = sorted(corpus.special_ids)
    taken, found, parts = 0, 0, []
    while taken < n_rows and found < n_tokens:
        step = max(1, -(-(n_tokens - found) // corpus.context))
        rows = corpus.tokens(SPLIT, taken, min(n_rows, taken + step))
        parts.append(rows)
        found += int((~np.isin(rows[0], special)).sum())
        taken += len(rows[0])
    tokens = np.concatenate([part[0] for part in parts])
    documents, index = np.unique(np.concatenate([p[1] for p in parts]), return_inverse=True)
    index = index.reshape(tokens.shape).astype(np.int32)
    return HeldOut(tokens, index, documents.astype(np.int64), frozenset(special))
