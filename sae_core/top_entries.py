"""The largest entries per row of a stream of (row, key, payload), in bounded memory."""

from __future__ import annotations

import torch


class TopEntries:
    """The K entries of largest key in each of f rows: `keys` (f, K) float64, descending.

    `payload` (f, K) int64 and `value` (f, K) float32 go with them; empty places have key −inf,
    payload −1 and value 0. Of equal keys the one that came first stays. Holds 20 f K bytes, and
    about 40 bytes per entry of a batch while it is added.
    """

    def __init__(self, n_rows: int, k: int) -> None:
        self.keys = torch.full((n_rows, k), -torch.inf, dtype=torch.float64)
        self.payload = torch.full((n_rows, k), -1, dtype=torch.int64)
        self.value = torch.zeros(n_rows, k)

    def add(
        self, rows: torch.Tensor, keys: torch.Tensor, payload: torch.Tensor, value: torch.Tensor
    ) -> None:
        """Takes in entries, each (m,)."""
        f, k = self.keys.shape
        # Most entries of a long stream cannot enter any more.
        able = keys > self.keys[rows, -1]
        rows, keys, payload, value = rows[able], keys[able], payload[able], value[able]
        order = keys.argsort(descending=True, stable=True)
        order = order[rows[order].argsort(stable=True)]
        rows = rows[order]
        counts = torch.bincount(rows, minlength=f)
        rank = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
        first = rank < k
        touched, place = rows[first].unique(return_inverse=True)
        fresh = TopEntries(len(touched), k)
        at, kept = (place, rank[first]), order[first]
        fresh.keys[at], fresh.payload[at], fresh.value[at] = keys[kept], payload[kept], value[kept]
        both = torch.cat([self.keys[touched], fresh.keys], 1)
        best = both.argsort(dim=1, descending=True, stable=True)[:, :k]
        self.keys[touched] = both.gather(1, best)
        for name in ("payload", "value"):
            mine, new = getattr(self, name), getattr(fresh, name)
            mine[touched] = torch.cat([mine[touched], new], 1).gather(1, best)
