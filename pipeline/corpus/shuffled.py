"""Text without order: the tokens of each document's piece of a packed row, shuffled.

A piece is what one packed row holds of one document. It is the unit because it is all of the
document that the model sees at once: every position keeps its document, and every document its
tokens, so that sums per document stay paired with those of the text as it is. A row is a function
of (weights seed, split, packed row) alone, hence the same wherever a pass begins. Special tokens
stay where they are, so that the same positions are rows of the store.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.corpus.packed import PackedCorpus
from pipeline.keyed_draws import generator
from pipeline.study.names import Weights
from pipeline.study.variants import SHUFFLED_TEXT


@dataclass(frozen=True)
class ShuffledCorpus(PackedCorpus):
    """A packed corpus whose tokens come shuffled; all else is as it is packed."""

    seed: int = 0

    def tokens(self, split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows start to stop of a split, shuffled; document ids as they are."""
        ids, documents = super().tokens(split, start, stop)
        special = np.isin(ids, sorted(self.special_ids))
        shuffled = ids.copy()
        for i, row in enumerate(range(start, stop)):
            draws = generator("shuffled text", self.seed, split, row).random(self.context)
            shuffled[i] = shuffled_row(ids[i], documents[i], special[i], draws)
        return shuffled, documents

    def packed_positions(self, split: str, row: int) -> np.ndarray:
        """Where each token of a row (context,) stands in the row as it was packed."""
        ids, documents = super().tokens(split, row, row + 1)
        special = np.isin(ids[0], sorted(self.special_ids))
        draws = generator("shuffled text", self.seed, split, row).random(self.context)
        return shuffled_row(np.arange(self.context), documents[0], special, draws)


def shuffled_row(
    ids: np.ndarray, documents: np.ndarray, special: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """Tokens (t,) in the order of their draws (t,) within each piece; special ones stay."""
    piece = np.cumsum(np.diff(documents, prepend=documents[:1]) != 0)
    free = np.flatnonzero(~special)
    order = np.lexsort((draws[free], piece[free]))
    shuffled = ids.copy()
    shuffled[free] = ids[free[order]]
    return shuffled


def text_as_read(corpus: PackedCorpus, weights: Weights) -> PackedCorpus:
    """The text that the language model reads under a weights variant."""
    if weights.variant != SHUFFLED_TEXT:
        return corpus
    return ShuffledCorpus(corpus.path, corpus.manifest, weights.seed or 0)
