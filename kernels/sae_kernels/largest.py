"""The k largest entries of every row on the CPU, exactly and fast."""

from __future__ import annotations

import numpy as np
import torch

_GROUP = 16
# A piece of a matrix is selected from at a time: its keys (8 bytes each) stay in the cache.
_PIECE_KEYS = 2**16
_LOW = 2**32 - 1


def largest(z: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and values (n, k) of the k largest of ReLU(z) per row, largest first.

    Of equal ones the lower index comes first; entries whose value is 0 are padding: index 0.
    NaN counts as the largest. `z` (n, f), 1 <= k <= f.

    A value > 0 and its index become one whole number, which orders as the rule says: value in the
    upper half (the bits of floats > 0 order as the floats do, NaN above all), index counted from
    the end in the lower. Whole numbers are partitioned several times faster than torch.topk
    selects, and equal values need no care. Where f is large, the k groups of 16 strided entries
    with the largest maxima hold the k largest entries; a row where two groups are equal at the
    border is selected from whole.
    """
    if z.dtype is torch.float64:
        return _sorted(z, k)
    z = z.float()
    indices = torch.empty(len(z), k, dtype=torch.int64)
    values = z.new_empty(len(z), k)
    grouped = z.shape[1] % _GROUP == 0 and z.shape[1] > 4 * _GROUP * k
    select = _from_groups if grouped else _from_all
    size = max(1, _PIECE_KEYS * (_GROUP if grouped else 1) // z.shape[1])
    for start in range(0, len(z), size):
        piece = slice(start, start + size)
        indices[piece], values[piece] = _decoded(select(z[piece], k))
    return indices, values


def _sorted(z: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    values, indices = z.relu().sort(dim=1, descending=True, stable=True)
    values, indices = values[:, :k], indices[:, :k]
    return indices.masked_fill(values == 0, 0), values


def _keys(values: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    bits = values.clamp(min=0).view(torch.int32).to(torch.int64)
    # The sign bit goes: it is set in -0 and in some NaN.
    return bits.bitwise_and_(0x7FFFFFFF).bitwise_left_shift_(32).bitwise_or_(_LOW - columns)


def _partitioned(keys: torch.Tensor, k: int) -> np.ndarray:
    """The keys, row by row the k largest last and the one before them the next largest."""
    found = np.asarray(keys)
    if k < found.shape[1]:
        found.partition(found.shape[1] - k - 1, axis=1)
    return found


def _from_all(z: torch.Tensor, k: int) -> np.ndarray:
    """The k largest keys (n, k) of rows z (n, f), in no order."""
    return _partitioned(_keys(z, torch.arange(z.shape[1])), k)[:, -k:]


def _from_groups(z: torch.Tensor, k: int) -> np.ndarray:
    """As `_from_all`, looking at every entry once and at the best groups' entries twice."""
    n, f = z.shape
    n_groups = f // _GROUP
    maxima = z.view(n, _GROUP, n_groups).amax(1)
    best = _partitioned(_keys(maxima, torch.arange(n_groups)), k)
    kept, next_one = best[:, -k:], best[:, -k - 1 : -k] >> 32
    groups = torch.from_numpy(_LOW - (kept & _LOW))
    columns = (groups.unsqueeze(1) + torch.arange(0, f, n_groups).view(1, -1, 1)).view(n, -1)
    keys = _partitioned(_keys(z.gather(1, columns), columns), k)[:, -k:]
    tied = np.flatnonzero((next_one > 0)[:, 0] & (kept >> 32 == next_one).any(1))
    if tied.size:
        keys[tied] = _from_all(z[torch.from_numpy(tied)], k)
    return keys


def _decoded(keys: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    ordered = torch.from_numpy(np.sort(keys, axis=1)[:, ::-1].copy())
    values = (ordered >> 32).to(torch.int32).view(torch.float32)
    return (_LOW - (ordered & _LOW)).masked_fill_(values == 0, 0), values
