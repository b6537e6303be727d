"""Batches put together from shards in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from pipeline.store.batch_memory import BatchMemory
from pipeline.store.epoch_order import Visit
from pipeline.store.storage_dtype import as_tensor


class LoadedShard:
    """One shard in memory, in a buffer that is reused: bytes, order of rows, which are ok."""

    def __init__(self, stored: np.ndarray, dtype: str) -> None:
        self.stored = stored
        self.rows: torch.Tensor | None = None
        self.ok: torch.Tensor | None = None
        self._values = as_tensor(stored, dtype)
        self._gathered = self._values[:0]

    def set_order(self, rows: np.ndarray | None, ok: np.ndarray | None) -> None:
        """The order of rows (None: as stored) and which stored rows are ok (None: all)."""
        self.rows = None if rows is None else torch.from_numpy(rows)
        self.ok = None if ok is None else torch.from_numpy(ok if rows is None else ok[rows])

    def copy_to(self, out: torch.Tensor, start: int, stop: int) -> None:
        """Slots start..stop of the order into `out` (stop - start, d) fp32."""
        if self.rows is None:
            out.copy_(self._values[start:stop])
            return
        if len(self._gathered) < len(out):
            self._gathered = self._values.new_empty(out.shape)
        gathered = self._gathered[: len(out)]
        torch.index_select(self._values, 0, self.rows[start:stop], out=gathered)
        out.copy_(gathered)


def assemble(
    shards: Iterable[tuple[Visit, LoadedShard]], *, batch_size: int, width: int
) -> Iterator[torch.Tensor]:
    """Batches of `batch_size` slots (n, d) fp32, less the masked rows among them.

    A shard's remainder flows into the next batch together with the shard after it.
    """
    memory = BatchMemory(batch_size, width)
    batch, ok, filled = memory.take(), None, 0
    for visit, loaded in shards:
        slot = visit.skip
        while slot < visit.n_rows:
            stop = min(slot + batch_size - filled, visit.n_rows)
            end = filled + stop - slot
            loaded.copy_to(batch[filled:end], slot, stop)
            if loaded.ok is not None:
                ok = torch.ones(batch_size, dtype=torch.bool) if ok is None else ok
                ok[filled:end] = loaded.ok[slot:stop]
            slot, filled = stop, end
            if filled == batch_size:
                yield batch if ok is None else batch[ok]
                batch, ok, filled = memory.take(), None, 0
