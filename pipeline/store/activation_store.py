"""Reading a source's activations: verified once, without zarr, in the order of training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from pipeline.errors import StoreError
from pipeline.hashing import file_hash
from pipeline.remote.place import remote_of
from pipeline.remote.shards import open_shard
from pipeline.store.batches import LoadedShard, assemble
from pipeline.store.epoch_order import EpochOrder, Visit
from pipeline.store.layout import StoreFolder
from pipeline.store.manifest import SiteManifest, StoredArray, StoreManifest, read_manifest
from pipeline.store.read_ahead import ReadAhead
from pipeline.store.row_mask import OK, row_mask
from pipeline.store.shard_file import (
    DamagedShardError,
    ShardReader,
    empty_rows,
    shard_count,
    shard_row_count,
)
from pipeline.store.statistics_file import statistics_from_bytes
from pipeline.store.storage_dtype import as_tensor
from pipeline.study.names import Source
from pipeline.workspace import Workspace
from sae_core.statistics import SourceStatistics


class ActivationStore:
    """One source's complete activations x (n_rows, width); row i is the same token at every site.

    `wait_seconds` is the time a consumer of `batches` has spent waiting for them so far.
    """

    def __init__(self, folder: StoreFolder, source: Source, manifest: SiteManifest) -> None:
        shared = read_manifest(StoreManifest, folder.manifest)
        if shared is None or shared.store_hash != manifest.store_hash:
            raise StoreError(
                f"{folder.manifest} is missing or belongs to another store. "
                f"Remove the folder {folder.root}; the next run harvests it again."
            )
        self.folder, self.source, self.manifest, self.shared = folder, source, manifest, shared
        self.wait_seconds = 0.0

    @classmethod
    def open(cls, workspace: Workspace, source: Source, source_hash: str) -> ActivationStore:
        """The store of a source; raises StoreError where it is not complete."""
        for folder, manifest in site_manifests(workspace, source):
            if manifest.source_hash == source_hash:
                return cls(folder, source, manifest)
        raise StoreError(
            f"There are no complete activations of {source} (hash {source_hash[:8]}) in "
            f"{workspace.activations}. Harvest them first: run the study again, or materialize "
            "its activations."
        )

    @property
    def path(self) -> Path:
        """The zarr v3 group."""
        return self.folder.zarr

    @property
    def hash(self) -> str:
        """The source hash."""
        return self.manifest.source_hash

    @property
    def n_rows(self) -> int:
        """All rows, masked ones too."""
        return self.manifest.train.rows

    @property
    def n_masked(self) -> int:
        """Rows left out of batches."""
        return self.manifest.n_nonfinite + self.manifest.n_high_norm

    @property
    def width(self) -> int:
        """d."""
        return self.manifest.calibration.width

    @property
    def dtype(self) -> str:
        """The storage type: float16, bfloat16 or float32."""
        return self.manifest.train.dtype

    @property
    def statistics(self) -> SourceStatistics:
        """What the calibration split says of the source."""
        path = self.folder.statistics(self.source.site)
        expected = self.manifest.calibration.statistics_sha256
        if not path.exists() or file_hash(path) != expected:
            raise self._damaged(f"{path} is missing or does not match its checksum.")
        return statistics_from_bytes(path.read_bytes())

    @property
    def further_statistics(self) -> tuple[SourceStatistics, ...]:
        """What stands beside the source's activations in a batch: nothing."""
        return ()

    def epochs_for(self, tokens: int) -> float:
        """How often `tokens` rows go through the store."""
        return tokens / (self.n_rows - self.n_masked)

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Rows start..stop in disk order, masked ones too, (stop - start, d) fp32."""
        return self._floats(self._rows(self.manifest.train, start, stop))

    def mask(self, start: int, stop: int) -> np.ndarray:
        """0 ok, 1 non-finite, 2 high norm, for rows start..stop, (stop - start,) uint8."""
        return self._rows(self.manifest.mask, start, stop)

    def origin(self, start: int, stop: int) -> np.ndarray:
        """Where rows start..stop come from: packed row · context + position, int64."""
        return self._rows(self.shared.origin, start, stop)

    def calibration(self, max_rows: int | None = None) -> Iterator[torch.Tensor]:
        """The calibration split in blocks (n, d) fp32, shuffled, without masked rows."""
        for x, ok in self.calibration_blocks(max_rows):
            yield x[ok]

    def calibration_blocks(
        self, max_rows: int | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The same with masked rows, and which rows are not masked, (n,) bool."""
        array, limit = self.manifest.calibration.array, self.manifest.calibration.max_norm
        rows = array.rows if max_rows is None else min(max_rows, array.rows)
        for start in range(0, rows, array.chunk_rows):
            stored = self._rows(array, start, min(start + array.chunk_rows, rows))
            x = self._floats(stored)
            yield x, torch.from_numpy(row_mask(x, limit) == OK)

    def batches(self, *, batch_size: int, data_seed: int, start: int = 0) -> Iterator[torch.Tensor]:
        """Batches (n, d) fp32 from batch `start` on, endless over epochs.

        Batch b = f(data_seed, epoch, b) holds batch_size slots less the masked rows among them;
        epochs follow one another without a gap (see epoch_order). Reading runs one shard ahead in
        a thread. Raises StoreError at a damaged shard, and at a batch of masked rows only.
        """
        train = self.manifest.train
        order = EpochOrder(train.rows, train.shard_rows, data_seed, self.is_shuffled)
        buffers = [self.shard_buffer() for _ in range(2)]
        with ReadAhead(order.visits(start * batch_size), buffers, fill=self.load) as shards:
            assembled = assemble(shards, batch_size=batch_size, width=self.width)
            while True:
                begun = time.perf_counter()
                batch = next(assembled)
                self.wait_seconds += time.perf_counter() - begun
                if not len(batch):
                    raise self.only_masked(batch_size)
                yield batch

    def verify(self) -> None:
        """Reads every shard and checks it; raises StoreError naming the first damaged one."""
        _ = self.statistics
        manifest = self.manifest
        for array in (
            manifest.train,
            manifest.mask,
            manifest.calibration.array,
            self.shared.origin,
        ):
            for number in range(shard_count(array)):
                with self._shard(array, number) as shard:
                    shard.verify()

    @property
    def is_shuffled(self) -> bool:
        """Whether rows lie in a uniformly random order."""
        return self.shared.shuffle == "global"

    def shard_buffer(self) -> LoadedShard:
        """Memory for one shard of train rows."""
        train = self.manifest.train
        return LoadedShard(empty_rows(train, min(train.shard_rows, train.rows)), self.dtype)

    def load(self, visit: Visit, loaded: LoadedShard) -> None:
        """Reads a visit's shard into memory that `shard_buffer` gave."""
        train, ok = self.manifest.train, None
        with self._shard(train, visit.shard) as shard:
            shard.read(loaded.stored)
        if train.shards[visit.shard].masked:
            first = visit.shard * train.shard_rows
            ok = self.mask(first, first + visit.n_rows) == OK
        loaded.set_order(visit.rows, ok)

    def only_masked(self, batch_size: int) -> StoreError:
        """What to say of a batch of masked rows only."""
        return StoreError(
            f"A batch of {batch_size} rows of {self.source} holds masked rows only "
            f"({self.n_masked} of {self.n_rows} are masked). "
            "Raise batch_size, or harvest.high_norm_factor."
        )

    def _floats(self, stored: np.ndarray) -> torch.Tensor:
        return as_tensor(stored, self.dtype).float()

    def _rows(self, array: StoredArray, start: int, stop: int) -> np.ndarray:
        if not 0 <= start <= stop <= array.rows:
            raise ValueError(f"rows {start}..{stop} of {array.name}, which has {array.rows} rows.")
        pieces = [empty_rows(array, 0)]
        while start < stop:
            number, slot = divmod(start, array.shard_rows)
            end = min(stop - number * array.shard_rows, shard_row_count(array, number))
            first, last = slot // array.chunk_rows, -(-end // array.chunk_rows)
            with self._shard(array, number) as shard:
                chunks = shard.read(
                    empty_rows(array, (last - first) * array.chunk_rows), first, last
                )
            pieces.append(chunks[slot - first * array.chunk_rows : end - first * array.chunk_rows])
            start = number * array.shard_rows + end
        return np.concatenate(pieces)

    @contextmanager
    def _shard(self, array: StoredArray, number: int) -> Iterator[ShardReader]:
        try:
            with open_shard(self.folder, array, number) as shard:
                yield shard
        except DamagedShardError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, what: str) -> StoreError:
        return StoreError(
            f"Activations of {self.source}: {what} Mend it with "
            f"`python -m pipeline.harvest.mend_command {self.source}` (the Python of `sae`; with "
            "--workspace FOLDER where yours is not the default one), which runs the language "
            "model again and rewrites only what is damaged."
        )


def site_manifests(
    workspace: Workspace, source: Source
) -> Iterator[tuple[StoreFolder, SiteManifest]]:
    """The complete stores of a source, of whatever settings."""
    remote = remote_of(workspace)
    for root in sorted((workspace.activations / f"{source.model}.{source.weights}").glob("*")):
        folder = StoreFolder(root, remote)
        manifest = read_manifest(SiteManifest, folder.site_manifest(source.site))
        if manifest is not None:
            yield folder, manifest
