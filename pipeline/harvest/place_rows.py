"""Rows put at their positions: the shards of a site, their masks, and at last its manifest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.harvest.parts import SiteRows
from pipeline.harvest.task import StoreTask
from pipeline.progress import Progress, Report
from pipeline.store.manifest import CalibrationManifest, Shard, StoredArray
from pipeline.store.row_mask import HIGH_NORM, NONFINITE, row_mask
from pipeline.store.shard_file import shard_count, shard_row_count, write_shard
from pipeline.store.storage_dtype import as_tensor

_MASK_ENTRIES = 1 << 18


def place_rows(rows: SiteRows, report: Report) -> tuple[StoredArray, StoredArray, dict[int, int]]:
    """Writes every shard of a site; returns the arrays `train`, `mask` and counts of mask values.

    Each shard file is whole or not there. Raises DiskFullError.
    """
    from pipeline.store.zarr_metadata import write_array

    task, train = rows.task, rows.array
    mask = task.array(f"mask/{rows.site}", rows=task.rows.n, width=None, dtype="uint8")
    write_array(task.folder, train)
    write_array(task.folder, mask)
    train_shards, mask_shards, counts = [], [], np.zeros(3, np.int64)
    for number in range(shard_count(train)):
        placed = placed_rows(task, train, number, *rows.shard_rows(number))
        masks: list[np.ndarray] = []
        chunks = _masked(placed, masks, rows.calibration)
        shard = write_shard(task.folder.shard(train, number), train, chunks)
        values = np.concatenate(masks)
        found = np.bincount(values, minlength=3)
        train_shards.append(shard.model_copy(update={"masked": int(found[1:].sum())}))
        mask_shards.append(write_mask_shard(task, mask, number, values))
        counts += found
        done = min((number + 1) * train.shard_rows, train.rows)
        report(Progress("write", done, train.rows, "rows", note=str(rows.site)))
    return (
        train.model_copy(update={"shards": tuple(train_shards)}),
        mask.model_copy(update={"shards": tuple(mask_shards)}),
        {NONFINITE: int(counts[NONFINITE]), HIGH_NORM: int(counts[HIGH_NORM])},
    )


def placed_rows(
    task: StoreTask, array: StoredArray, number: int, rows: np.ndarray, numbers: np.ndarray
) -> Iterator[np.ndarray]:
    """The chunks of a shard from `rows[numbers]`, its rows in corpus order.

    A chunk is valid until the next one is asked for.
    """
    start = number * array.shard_rows
    sources = task.order.row(np.arange(start, start + shard_row_count(array, number)))
    placed = np.empty(len(sources), np.int64)
    placed[np.argsort(sources)] = numbers
    chunk = np.empty((min(array.chunk_rows, len(placed)), *rows.shape[1:]), rows.dtype)
    for first in range(0, len(placed), array.chunk_rows):
        here = placed[first : first + array.chunk_rows]
        yield np.take(rows, here, axis=0, out=chunk[: len(here)], mode="clip")


def write_mask_shard(task: StoreTask, array: StoredArray, number: int, values: np.ndarray) -> Shard:
    """Writes one shard of a site's mask."""
    chunks = (values[i : i + array.chunk_rows] for i in range(0, len(values), array.chunk_rows))
    return write_shard(task.folder.shard(array, number), array, chunks)


def chunk_mask(chunk: np.ndarray, calibration: CalibrationManifest) -> np.ndarray:
    """The mask of a chunk of stored rows (n, d); (n,) uint8."""
    values = as_tensor(chunk, calibration.dtype)
    # In blocks that stay in the processor's cache as float32.
    step = max(1, _MASK_ENTRIES // calibration.width)
    masks = [row_mask(block, calibration.max_norm) for block in values.split(step)]
    return np.concatenate(masks)


def _masked(
    chunks: Iterator[np.ndarray], masks: list[np.ndarray], calibration: CalibrationManifest
) -> Iterator[np.ndarray]:
    for chunk in chunks:
        masks.append(chunk_mask(chunk, calibration))
        yield chunk
