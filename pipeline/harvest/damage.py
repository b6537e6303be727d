"""What is damaged in a source on disk, and what the language model must run again to mend it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.harvest.calibrate import calibration_rows
from pipeline.harvest.gaussian import has_gaussian
from pipeline.harvest.task import StoreTask
from pipeline.hashing import file_hash
from pipeline.remote.shards import open_shard, renew
from pipeline.store.manifest import SiteManifest, StoredArray
from pipeline.store.shard_file import DamagedShardError, shard_count, shard_row_count
from pipeline.study.names import Site


@dataclass(frozen=True)
class Damage:
    """The damaged shards of a source, by array; `tokens` the language model must run again.

    `gaussian`: whether what the activations are drawn from is damaged.
    """

    train: list[int]
    mask: list[int]
    calibration: list[int]
    origin: list[int]
    statistics: bool
    gaussian: bool
    tokens: int

    def shards(self, manifest: SiteManifest, origin: StoredArray) -> list[tuple[StoredArray, int]]:
        """The damaged shards, each with its array."""
        arrays = (manifest.train, manifest.mask, manifest.calibration.array, origin)
        numbers = (self.train, self.mask, self.calibration, self.origin)
        pairs = zip(arrays, numbers, strict=True)
        return [(array, number) for array, listed in pairs for number in listed]

    def names(self, manifest: SiteManifest, origin: StoredArray) -> list[str]:
        """What is damaged, as a person calls it."""
        pairs = self.shards(manifest, origin)
        others = {"the statistics": self.statistics, "the Gaussian": self.gaussian}
        shards = [f"shard {number} of {array.name}" for array, number in pairs]
        return [*shards, *(name for name, damaged in others.items() if damaged)]


def find_damage(task: StoreTask, manifest: SiteManifest) -> Damage:
    """Reads every shard of a source and says which are damaged."""
    calibration = _damaged(task, manifest.calibration.array)
    site = Site.parse(manifest.calibration.site)
    statistics, gaussian = task.folder.statistics(site), not has_gaussian(task, site)
    train = _damaged(task, manifest.train)
    packed_rows = sum(stop - start for start, stop in batches_of(task, manifest.train, train))
    tokens = packed_rows * task.rows.context
    if calibration or gaussian:
        tokens += calibration_rows(task).packed_rows * task.rows.context
    return Damage(
        train=train,
        mask=_damaged(task, manifest.mask),
        calibration=calibration,
        origin=_damaged(task, task.manifest.origin),
        statistics=not statistics.exists()
        or file_hash(statistics) != manifest.calibration.statistics_sha256,
        gaussian=gaussian,
        tokens=tokens,
    )


def _damaged(task: StoreTask, array: StoredArray) -> list[int]:
    found = []
    for number in range(shard_count(array)):
        try:
            with open_shard(task.folder, array, number) as shard:
                shard.verify(again=True)
        except DamagedShardError:
            if not renew(task.folder, array, number):
                found.append(number)
    return found


def batches_of(task: StoreTask, array: StoredArray, shards: list[int]) -> list[tuple[int, int]]:
    """The batches that the harvest ran, as packed rows, as far as these shards need them."""
    needed: set[int] = set()
    for number in shards:
        flat = task.rows.flat(task.order.row(positions(array, number)))
        needed |= set(np.unique(flat // task.rows.context // task.manifest.batch_rows).tolist())
    step = task.manifest.batch_rows
    return [(b * step, min((b + 1) * step, task.rows.packed_rows)) for b in sorted(needed)]


def positions(array: StoredArray, number: int) -> np.ndarray:
    """The positions that a shard holds, in the global order; (m,)."""
    start = number * array.shard_rows
    return np.arange(start, start + shard_row_count(array, number))
