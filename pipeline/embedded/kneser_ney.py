"""Interpolated Kneser-Ney n-gram model over token ids: the baseline a language model must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class _Level:
    """Counts of one order j, keys sorted.

    grams: packed j-grams. counts: their (continuation) counts. contexts: packed (j-1)-grams,
    with total count and number of distinct followers. discount: D_j.
    """

    grams: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    followers: np.ndarray
    discount: float


class KneserNey:
    """Interpolated Kneser-Ney of a given order.

    p_j(w | c) = max(a(cw) - D_j, 0) / a(c.) + D_j N(c.) / a(c.) p_{j-1}(w | c'),
    c' the context without its first token, N(c.) the distinct followers of c, a the raw count at
    the highest order and the number of distinct left neighbours below it. p_0 is uniform over
    the vocabulary. Where c was never seen, p_j(w | c) = p_{j-1}(w | c').
    D_j = n1 / (n1 + 2 n2) from the j-grams with a = 1 and a = 2, and 1/2 where n1 = 0, so that
    no probability is 0.

    Reference: Chen and Goodman 1999, section 2.7, equations 14 to 17 (interpolated form).
    """

    def __init__(self, tokens: np.ndarray, *, vocab: int, order: int = 5) -> None:
        """Count a training stream of token ids in [0, vocab).

        Raises ValueError where order is below 1, packed n-grams pass 63 bits, the stream is
        shorter than order, or an id lies outside the vocabulary.
        """
        self.vocab, self.order = vocab, order
        self._bits = max(1, (vocab - 1).bit_length())
        if order < 1 or self._bits * order > 63:
            raise ValueError(
                f"order {order} at vocabulary {vocab} was given; order must be >= 1 and order x "
                f"{self._bits} bits at most 63: lower one of them."
            )
        if len(tokens) < order or tokens.min() < 0 or tokens.max() >= vocab:
            raise ValueError(
                f"{len(tokens)} tokens were given; at least {order} are needed, each in "
                f"[0, {vocab})."
            )
        self._levels = self._count(np.asarray(tokens, dtype=np.int64))

    def probabilities(self, tokens: np.ndarray, contexts: np.ndarray) -> np.ndarray:
        """p(tokens | contexts): (n,) ids and (n, order - 1) ids before them, oldest first."""
        tokens = np.asarray(tokens, dtype=np.int64)
        probability = np.full(len(tokens), 1.0 / self.vocab)
        context = np.zeros(len(tokens), dtype=np.int64)
        for j, level in enumerate(self._levels, start=1):
            if j > 1:
                oldest = np.asarray(contexts[:, self.order - j], dtype=np.int64)
                context = context | (oldest << (self._bits * (j - 2)))
            probability = self._interpolate(level, context, tokens, lower=probability)
        return probability

    def loss_nats(self, tokens: np.ndarray, at_once: int = 200_000) -> float:
        """Mean -log p in nats over a stream, from its second token on.

        The first tokens' contexts are filled up to the left with the stream's first token, which
        in a document stream is the end of the text before it.
        """
        k = self.order - 1
        padded = np.concatenate([np.full(max(0, k - 1), tokens[0]), tokens]).astype(np.int64)
        windows = np.lib.stride_tricks.sliding_window_view(padded, max(k, 1) + 1)
        total = 0.0
        for start in range(0, len(windows), at_once):
            part = windows[start : start + at_once]
            total -= np.log(self.probabilities(part[:, -1], part[:, :-1][:, :k])).sum()
        return float(total / (len(tokens) - 1))

    def _count(self, tokens: np.ndarray) -> list[_Level]:
        grams, counts = np.unique(self._pack(tokens), return_counts=True)
        levels = [self._level(grams, counts)]
        for j in range(self.order - 1, 0, -1):
            mask = (1 << (self._bits * j)) - 1
            grams, counts = np.unique(grams & mask, return_counts=True)
            levels.append(self._level(grams, counts))
        return levels[::-1]

    def _pack(self, tokens: np.ndarray) -> np.ndarray:
        n = len(tokens) - self.order + 1
        packed = np.zeros(n, dtype=np.int64)
        for i in range(self.order):
            packed = (packed << self._bits) | tokens[i : i + n]
        return packed

    def _level(self, grams: np.ndarray, counts: np.ndarray) -> _Level:
        contexts, first = np.unique(grams >> self._bits, return_index=True)
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        return _Level(
            grams=grams,
            counts=counts,
            contexts=contexts,
            totals=np.add.reduceat(counts, first),
            followers=np.diff(np.append(first, len(grams))),
            discount=once / (once + 2 * twice) if once else 0.5,
        )

    def _interpolate(
        self, level: _Level, context: np.ndarray, tokens: np.ndarray, *, lower: np.ndarray
    ) -> np.ndarray:
        at, known = _find(level.contexts, context)
        found, seen = _find(level.grams, (context << self._bits) | tokens)
        count = np.where(seen, level.counts[found], 0)
        total = np.where(known, level.totals[at], 1)
        own = np.maximum(count - level.discount, 0.0) / total
        back = level.discount * level.followers[at] / total
        return np.where(known, own + back * lower, lower)


def _find(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return at, keys[at] == wanted
