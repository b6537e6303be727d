"""A keyed permutation of [0, n): where each row goes, known without a list of all rows.

Up to 65,536 rows the order is that of keyed 64-bit hashes, a table. Beyond, a Feistel network
with cycle walking gives position and row one at a time, without a table of n entries. Both
depend on the key and n alone: not on batches, on where work resumed, or on library versions.
"""

from __future__ import annotations

import hashlib

import numpy as np

TABLE_ROWS = 1 << 16
_ROUNDS = 8
_BLOCK = 1 << 15
_ODD = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class KeyedPermutation:
    """A permutation of [0, n) chosen by `key`; equal keys and n give the same one everywhere."""

    def __init__(self, n: int, *key: int | str) -> None:
        self.n = n
        self._table: np.ndarray | None = None
        self._inverse: np.ndarray | None = None
        words = _key_words(_ROUNDS, *key)
        if n <= TABLE_ROWS:
            hashes = mix(np.arange(n, dtype=np.uint64) ^ words[0], words[1])
            self._inverse = np.argsort(hashes, kind="stable").astype(np.int64)
            self._table = np.empty(n, np.int64)
            self._table[self._inverse] = np.arange(n)
        else:
            self._feistel = _Feistel(n, words)

    def position(self, rows: np.ndarray) -> np.ndarray:
        """Where the rows (m,) go, (m,) int64."""
        if self._table is not None:
            return self._table[rows]
        return self._feistel.walk(rows, forward=True)

    def row(self, positions: np.ndarray) -> np.ndarray:
        """Which rows lie at the positions (m,): the inverse of `position`, (m,) int64."""
        if self._inverse is not None:
            return self._inverse[positions]
        return self._feistel.walk(positions, forward=False)


def mix(values: np.ndarray, salt: np.uint64) -> np.ndarray:
    """A bijection of 64-bit words whose output bits each depend on every input bit."""
    z = (values + salt) * _ODD[0]
    z ^= z >> np.uint64(29)
    z *= _ODD[1]
    z ^= z >> np.uint64(32)
    z *= _ODD[0]
    return z ^ (z >> np.uint64(30))


class _Feistel:
    """A Feistel network on the smallest power of two >= n; values beyond n walk on."""

    def __init__(self, n: int, keys: np.ndarray) -> None:
        bits = max(2, (n - 1).bit_length())
        self._n = np.uint64(n)
        self._keys = keys
        self._low_bits = np.uint64((bits + 1) // 2)
        self._high_bits = np.uint64(bits // 2)
        self._low_mask = np.uint64((1 << ((bits + 1) // 2)) - 1)

    def walk(self, values: np.ndarray, *, forward: bool) -> np.ndarray:
        """The image (or preimage) of each value (m,), all within [0, n)."""
        source = np.asarray(values).astype(np.uint64, copy=False).ravel()
        result = np.empty(source.shape, np.uint64)
        for start in range(0, len(source), _BLOCK):
            part = self._once(source[start : start + _BLOCK], forward=forward)
            outside = np.flatnonzero(part >= self._n)
            while len(outside):
                part[outside] = self._once(part[outside], forward=forward)
                outside = outside[part[outside] >= self._n]
            result[start : start + _BLOCK] = part
        return result.astype(np.int64)

    def _once(self, values: np.ndarray, *, forward: bool) -> np.ndarray:
        high, low = values >> self._low_bits, values & self._low_mask
        rounds = range(_ROUNDS) if forward else range(_ROUNDS - 1, -1, -1)
        for number in rounds:
            if number % 2 == 0:
                high ^= _round(low, self._keys[number], self._high_bits)
            else:
                low ^= _round(high, self._keys[number], self._low_bits)
        return (high << self._low_bits) | low


def _round(half: np.ndarray, key: np.uint64, bits: np.uint64) -> np.ndarray:
    z = (half + key) * _ODD[0]
    z ^= z >> np.uint64(29)
    z *= _ODD[1]
    return z >> (np.uint64(64) - bits)


def _key_words(count: int, *key: int | str) -> np.ndarray:
    text = "\0".join(f"{type(part).__name__}:{part}" for part in key).encode()
    digest = b"".join(hashlib.sha512(bytes([i]) + text).digest() for i in range(-(-count // 8)))
    return np.frombuffer(digest, "<u8")[:count].astype(np.uint64)
