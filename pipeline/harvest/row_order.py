"""Where each row goes in its store: the shuffle modes.

`global` permutes all rows. The others exist to measure what a weaker shuffle costs: `buffer`
permutes inside windows of 16,384 consecutive rows, as a shuffling buffer does; `sequence`
permutes whole packed rows; `none` leaves the corpus order.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pipeline.harvest.token_rows import TokenRows
from pipeline.store.permutation import KeyedPermutation

BUFFER_ROWS = 16_384


class RowOrder(Protocol):
    """A bijection between rows, in corpus order, and positions in the store."""

    def position(self, rows: np.ndarray) -> np.ndarray:
        """Where rows (m,) go."""

    def row(self, positions: np.ndarray) -> np.ndarray:
        """Which rows lie at positions (m,)."""


def row_order(shuffle: str, seed: int, rows: TokenRows) -> RowOrder:
    """The order of a shuffle mode; it depends on the mode, the seed and the rows alone."""
    if shuffle == "global":
        return KeyedPermutation(rows.n, "rows", seed)
    if shuffle == "buffer":
        return _WindowOrder(rows.n, seed)
    if shuffle == "sequence":
        return _SequenceOrder(rows, seed)
    return _CorpusOrder()


class _CorpusOrder:
    def position(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(rows, np.int64)

    def row(self, positions: np.ndarray) -> np.ndarray:
        return np.asarray(positions, np.int64)


class _WindowOrder:
    """Each window of consecutive rows permuted by itself."""

    def __init__(self, n: int, seed: int) -> None:
        self._n, self._seed = n, seed

    def position(self, rows: np.ndarray) -> np.ndarray:
        return self._each_window(np.asarray(rows, np.int64), forward=True)

    def row(self, positions: np.ndarray) -> np.ndarray:
        return self._each_window(np.asarray(positions, np.int64), forward=False)

    def _each_window(self, values: np.ndarray, *, forward: bool) -> np.ndarray:
        result = np.empty_like(values)
        windows = values // BUFFER_ROWS
        for window in np.unique(windows):
            start = window * BUFFER_ROWS
            size = min(BUFFER_ROWS, self._n - start)
            order = KeyedPermutation(int(size), "window", self._seed, int(window))
            here = windows == window
            move = order.position if forward else order.row
            result[here] = start + move(values[here] - start)
        return result


class _SequenceOrder:
    """Packed rows in a permuted order, each kept whole."""

    def __init__(self, rows: TokenRows, seed: int) -> None:
        self._starts = rows.first_row(np.arange(rows.packed_rows + 1))
        order = KeyedPermutation(rows.packed_rows, "sequences", seed)
        numbers = np.arange(rows.packed_rows)
        self._rank, self._order = order.position(numbers), order.row(numbers)
        lengths = np.diff(self._starts)[self._order]
        self._moved = np.concatenate([[0], np.cumsum(lengths)])

    def position(self, rows: np.ndarray) -> np.ndarray:
        sequence = np.searchsorted(self._starts, rows, side="right") - 1
        return self._moved[self._rank[sequence]] + rows - self._starts[sequence]

    def row(self, positions: np.ndarray) -> np.ndarray:
        rank = np.searchsorted(self._moved, positions, side="right") - 1
        return self._starts[self._order[rank]] + positions - self._moved[rank]
