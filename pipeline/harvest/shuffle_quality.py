"""How uniform the order of a store's rows is, measured on what lies on disk.

Statistics of a uniform order have z = (value − expected) / deviation; |z| <= 5 passes: a good
store fails one of them about once in 400,000 harvests. Others are exact, and pass or fail.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pipeline.harvest.row_order import RowOrder
from pipeline.harvest.token_rows import TokenRows
from pipeline.store.permutation import mix

Z_LIMIT = 5.0
_BLOCKS = 64
_MIN_EXPECTED = 8.0
_IMMEASURABLE = 40.0
_SALT = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class ShuffleStatistic:
    """One statistic of a store's order; `z` is None where the statistic is exact."""

    statistic: str
    value: float
    expected: float
    z: float | None
    passed: bool


def shuffle_quality(
    origins: Iterable[np.ndarray], rows: TokenRows, order: RowOrder, *, shard_rows: int
) -> list[ShuffleStatistic]:
    """The statistics of an order, from the origin (m,) of each row in disk order, in blocks.

    `misplaced_rows`: rows that are not where the keyed order puts them. `wrong_rows`: whether the
    rows are the corpus's, each once (by a 64-bit checksum of the set; 0 or 1).
    `block_by_shard`: chi-square of the corpus block a row comes from against the shard it lies
    in. `adjacent_same_sequence`, `adjacent_same_document`: pairs of neighbours from one packed
    row, one document; expected under a uniform order, deviation from the number of runs.
    `serial_correlation`: correlation of neighbours' places in the corpus.
    Reference: Barton and David (1957), "Multiple runs" (moments of the number of runs).
    """
    tally = _Tally(rows, order, shard_rows)
    for block in origins:
        tally.add(block)
    exact = [
        exact_count("misplaced_rows", tally.misplaced),
        exact_count("wrong_rows", int(tally.checksum != _expected_checksum(rows))),
    ]
    if rows.n < 3:
        return exact
    return [
        *exact,
        _chi_square("block_by_shard", tally.table),
        _same_neighbours("adjacent_same_sequence", tally.same_sequence, _sequence_sizes(rows)),
        _same_neighbours("adjacent_same_document", tally.same_document, _document_sizes(rows)),
        _serial_correlation(tally),
    ]


def exact_count(statistic: str, count: int) -> ShuffleStatistic:
    """A count that must be 0."""
    return ShuffleStatistic(statistic, float(count), 0.0, None, count == 0)


class _Tally:
    """Counts over one walk through the store."""

    def __init__(self, rows: TokenRows, order: RowOrder, shard_rows: int) -> None:
        self._rows, self._order = rows, order
        self._seen = 0
        self._last: int | None = None
        # A table of at least 8 expected per cell; a store of one shard is cut in blocks instead.
        most = max(2, min(_BLOCKS, int(math.sqrt(rows.n / _MIN_EXPECTED))))
        n_shards = -(-rows.n // shard_rows)
        self._groups = min(most, n_shards) if n_shards > 1 else most
        self._group_rows = shard_rows if n_shards > 1 else -(-rows.n // most)
        self.table = np.zeros((most, self._groups))
        self.misplaced = self.same_sequence = self.same_document = 0
        self.checksum = 0
        self.lag_product = self.pairs = 0.0

    def add(self, origins: np.ndarray) -> None:
        """The next rows of the store, in disk order."""
        positions = np.arange(self._seen, self._seen + len(origins))
        self.misplaced += int((origins != self._rows.flat(self._order.row(positions))).sum())
        self.checksum = (self.checksum + _set_checksum(origins)) % (1 << 64)
        places = self._rows.row_of(origins)
        blocks = places * len(self.table) // self._rows.n
        groups = positions // self._group_rows % self._groups
        cells = blocks.clip(0, len(self.table) - 1) * self._groups + groups
        self.table += np.bincount(cells, minlength=self.table.size).reshape(self.table.shape)
        chain = origins if self._last is None else np.concatenate([[self._last], origins])
        self._neighbours(chain)
        self._seen += len(origins)
        self._last = int(origins[-1])

    def _neighbours(self, chain: np.ndarray) -> None:
        sequence, document = chain // self._rows.context, self._rows.document(chain)
        self.same_sequence += int((sequence[1:] == sequence[:-1]).sum())
        self.same_document += int((document[1:] == document[:-1]).sum())
        centred = self._rows.row_of(chain) - (self._rows.n - 1) / 2
        self.lag_product += float(centred[1:] @ centred[:-1])


def _expected_checksum(rows: TokenRows) -> int:
    total, block = 0, 1 << 18
    for start in range(0, rows.n, block):
        total += _set_checksum(rows.flat(np.arange(start, min(start + block, rows.n))))
    return total % (1 << 64)


def _set_checksum(origins: np.ndarray) -> int:
    """A checksum of a set of rows that does not depend on their order."""
    return int(mix(origins.astype(np.uint64), _SALT).sum(dtype=np.uint64))


def _chi_square(statistic: str, table: np.ndarray) -> ShuffleStatistic:
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    n = table.sum()
    expected = np.outer(table.sum(1), table.sum(0)) / n
    value = float(((table - expected) ** 2 / expected).sum())
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    if freedom == 0:
        return _by_z(statistic, value, 0.0, 0.0)
    # Wilson and Hilferty: the cube root of chi-square / freedom is close to normal.
    spread = 2 / (9 * freedom)
    z = ((value / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return _by_z(statistic, value, freedom * n / (n - 1), z)


def _same_neighbours(statistic: str, count: int, sizes: np.ndarray) -> ShuffleStatistic:
    """Pairs of equal neighbours in a random order of groups of the given sizes."""
    sizes = sizes.astype(np.float64)
    n, squares, cubes = sizes.sum(), (sizes**2).sum(), (sizes**3).sum()
    expected = (squares - n) / n
    variance = (squares * (squares + n * (n + 1)) - 2 * n * cubes - n**3) / (n * n * (n - 1))
    if variance <= 0:
        return _by_z(statistic, count, expected, 0.0 if count == round(expected) else _IMMEASURABLE)
    if expected < 50:
        return _by_z(statistic, count, expected, _poisson_z(count, expected))
    return _by_z(statistic, count, expected, (count - expected) / math.sqrt(variance))


def _serial_correlation(tally: _Tally) -> ShuffleStatistic:
    n = tally.table.sum()
    variance = (n * n - 1) / 12
    value = tally.lag_product / (n - 1) / variance
    expected = -1 / (n - 1)
    return _by_z("serial_correlation", value, expected, (value - expected) * math.sqrt(n))


def _by_z(statistic: str, value: float, expected: float, z: float) -> ShuffleStatistic:
    passed = bool(abs(z) <= Z_LIMIT)
    return ShuffleStatistic(statistic, float(value), float(expected), float(z), passed)


def _poisson_z(count: int, mean: float) -> float:
    """The z of a Poisson count, from the tail at or beyond it."""
    if mean <= 0:
        return _IMMEASURABLE if count else 0.0
    log_terms = [k * math.log(mean) - mean - math.lgamma(k + 1) for k in range(count)]
    below = math.fsum(math.exp(term) for term in log_terms)
    at = math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
    upper, lower = max(0.0, 1 - below), below + at
    if lower < upper:
        return NormalDist().inv_cdf(max(lower, 1e-300))
    return -NormalDist().inv_cdf(max(upper, 1e-16)) if upper < 0.5 else 0.0


def _sequence_sizes(rows: TokenRows) -> np.ndarray:
    return np.diff(rows.first_row(np.arange(rows.packed_rows + 1)))


def _document_sizes(rows: TokenRows) -> np.ndarray:
    starts = np.append(rows.document_starts, rows.packed_rows * rows.context)
    return np.diff(np.minimum(rows.row_of(starts), rows.n))
