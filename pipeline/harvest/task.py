"""One store to fill: where it lies, whose tokens, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.harvest.forward import TextRows
from pipeline.harvest.identity import StoreIdentity
from pipeline.harvest.row_order import RowOrder, row_order
from pipeline.harvest.token_rows import TokenRows, token_rows
from pipeline.store.layout import StoreFolder, chunk_rows
from pipeline.store.manifest import (
    Shard,
    StoredArray,
    StoreManifest,
    read_manifest,
    write_manifest,
)
from pipeline.store.shard_file import shard_count, shard_row_count, write_shard
from pipeline.study.config import HarvestConfig
from pipeline.study.names import Site, Source, Weights

if TYPE_CHECKING:
    from pipeline.corpus.pack import PackedCorpus


@dataclass(frozen=True)
class StoreTask:
    """A store with its shared parts in place, ready for sites to be added."""

    folder: StoreFolder
    manifest: StoreManifest
    settings: HarvestConfig
    corpus: PackedCorpus
    rows: TokenRows
    order: RowOrder

    def source(self, site: Site) -> Source:
        """The source of a site in this store."""
        return Source(self.manifest.model, Weights.parse(self.manifest.weights), site)

    def text(self, split: str, start: int, stop: int) -> TextRows:
        """Packed rows start to stop of a split, as the language model reads them."""
        return TextRows(split, start, self.corpus.tokens(split, start, stop)[0])

    def array(self, name: str, *, rows: int, width: int | None, dtype: str) -> StoredArray:
        """An array of the store, without shards yet."""
        size = self.manifest.origin.shard_rows
        return new_array(name, rows=rows, width=width, dtype=dtype, shard_rows=size)


def prepare_store(
    folder: StoreFolder,
    identity: StoreIdentity,
    corpus: PackedCorpus,
    *,
    settings: HarvestConfig,
    batch_rows: int,
) -> StoreTask:
    """The store of an identity; what its sites share is written where it is missing.

    Raises StudyError for a token budget beyond the corpus, DiskFullError.
    """
    rows = token_rows(corpus, "train", tokens=settings.tokens)
    order = row_order(settings.shuffle, settings.shuffle_seed, rows)
    manifest = read_manifest(StoreManifest, folder.manifest)
    if manifest is None:
        manifest = StoreManifest(
            store_hash=identity.store_hash,
            model=identity.model,
            weights=str(identity.weights),
            corpus_hash=identity.corpus_hash,
            model_hash=identity.model_hash,
            n_rows=rows.n,
            context=rows.context,
            batch_rows=batch_rows,
            shuffle=settings.shuffle,
            harvest=settings.model_dump(mode="json"),
            origin=_write_origin(folder, rows, order, settings.shard_rows),
        )
        write_manifest(folder.manifest, manifest)
    return StoreTask(folder, manifest, settings, corpus, rows, order)


def new_array(
    name: str, *, rows: int, width: int | None, dtype: str, shard_rows: int
) -> StoredArray:
    """An array without shards; its inner chunks follow from `shard_rows`."""
    return StoredArray(
        name=name,
        rows=rows,
        width=width,
        dtype=dtype,
        shard_rows=shard_rows,
        chunk_rows=chunk_rows(shard_rows),
        shards=(),
    )


def write_origin_shard(
    folder: StoreFolder, array: StoredArray, number: int, *, rows: TokenRows, order: RowOrder
) -> Shard:
    """Writes where the rows of one shard come from; it needs no language model."""
    start = number * array.shard_rows
    positions = np.arange(start, start + shard_row_count(array, number))
    flat = rows.flat(order.row(positions))
    chunks = (flat[i : i + array.chunk_rows] for i in range(0, len(flat), array.chunk_rows))
    return write_shard(folder.shard(array, number), array, chunks)


def _write_origin(
    folder: StoreFolder, rows: TokenRows, order: RowOrder, shard_rows: int
) -> StoredArray:
    from pipeline.store.zarr_metadata import write_array, write_groups

    array = new_array("origin", rows=rows.n, width=None, dtype="int64", shard_rows=shard_rows)
    write_groups(folder)
    write_array(folder, array)
    shards = [
        write_origin_shard(folder, array, number, rows=rows, order=order)
        for number in range(shard_count(array))
    ]
    return array.model_copy(update={"shards": tuple(shards)})
