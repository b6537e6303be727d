"""In which order batches visit the rows of a store.

The slots of all epochs lie end to end; batch b is slots [b·B, (b + 1)·B) of that line, so every
batch has B slots, none is lost at an epoch's end, and any batch is found without reading others.
Epoch 0 with data_seed 0 is the order on disk. Otherwise, in a store shuffled globally, shards
and the rows inside each are permuted, keyed by (data_seed, epoch). The other shuffle modes exist
to measure what not shuffling costs: their stores are read in disk order in every epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.store.permutation import KeyedPermutation


@dataclass(frozen=True)
class Visit:
    """One shard in one epoch, from its slot `skip` on; `rows` (r,) in order, None: disk order."""

    epoch: int
    shard: int
    skip: int
    n_rows: int
    rows: np.ndarray | None


@dataclass(frozen=True)
class EpochOrder:
    """The order of a store of `n_rows` in shards of `shard_rows`."""

    n_rows: int
    shard_rows: int
    data_seed: int
    is_shuffled: bool

    def visits(self, start_slot: int) -> Iterator[Visit]:
        """The shards to read, from a slot of the endless line on; never ends."""
        epoch, within = divmod(start_slot, self.n_rows)
        while True:
            for shard in self._shards(epoch):
                size = min(self.shard_rows, self.n_rows - shard * self.shard_rows)
                if within < size:
                    yield Visit(epoch, shard, within, size, self._rows(epoch, shard, size))
                within = max(0, within - size)
            epoch += 1

    def _keeps_disk_order(self, epoch: int) -> bool:
        return not self.is_shuffled or (self.data_seed == 0 and epoch == 0)

    def _shards(self, epoch: int) -> list[int]:
        numbers = np.arange(-(-self.n_rows // self.shard_rows))
        if not self._keeps_disk_order(epoch):
            numbers = KeyedPermutation(len(numbers), "shards", self.data_seed, epoch).row(numbers)
        return numbers.tolist()

    def _rows(self, epoch: int, shard: int, size: int) -> np.ndarray | None:
        if self._keeps_disk_order(epoch):
            return None
        order = KeyedPermutation(size, "rows of shard", self.data_seed, epoch, shard)
        return order.row(np.arange(size))
