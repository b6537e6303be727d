"""Parts of a harvest made by several processes, each with the language model of its own.

A span is packed rows start..stop; its parts are what a harvest in one process would have written
had it been interrupted there. What shards hold does not depend on where parts begin and end, and
spans begin where a batch does, so that the store is the one of a single process, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.harvest.forward import Forward
from pipeline.harvest.parts import Dealer, part_path, taking, write_part
from pipeline.harvest.read_rows import row_capacity
from pipeline.harvest.task import StoreTask
from pipeline.harvest.variant_forward import variant_forward
from pipeline.progress import silent
from pipeline.store.manifest import CalibrationManifest, StoredArray, read_manifest
from pipeline.store.shard_file import row_bytes
from pipeline.store.storage_dtype import numpy_dtype
from pipeline.study.config import ModelConfig
from pipeline.study.names import Site, Weights
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Span:
    """Packed rows start..stop of a store, at these sites."""

    workspace: Workspace
    model: str
    config: ModelConfig
    weights: Weights
    sites: tuple[Site, ...]
    start: int
    stop: int


def cut(
    task: StoreTask, calibrations: Sequence[CalibrationManifest], *, begin: int, workers: int
) -> list[tuple[int, int]]:
    """Spans of the packed rows from `begin` on: some for each worker, none beyond `memory_mb`."""
    batch, end = task.manifest.batch_rows, task.rows.packed_rows
    batches = -(-(end - begin) // batch)
    fitting = row_capacity(task, calibrations) // (batch * task.rows.context)
    each = max(1, min(-(-batches // (2 * workers)), fitting)) * batch
    return [(start, min(start + each, end)) for start in range(begin, end, each)]


def make_span(span: Span) -> None:
    """Runs the language model over a span and writes its parts, unless they are there."""
    task, forward = _opened(span.workspace, span.model, span.config, span.weights, span.sites)
    arrays = {site: _array(task, site) for site in span.sites}
    ends = (span.start, span.stop)
    first, last = task.rows.first_row(np.array(ends))
    missing = [
        site
        for site, array in arrays.items()
        if not _is_whole(task, site, array, ends, int(last - first))
    ]
    if not missing:
        return
    rows = {
        site: np.empty((int(last - first), arrays[site].width), numpy_dtype(arrays[site].dtype))
        for site in missing
    }
    _fill(task, forward, arrays, rows, ends)
    dealer = Dealer(task)
    for site in missing:
        write_part(task, site, arrays[site], dealer, rows[site], ends)


def _fill(
    task: StoreTask,
    forward: Forward,
    arrays: dict[Site, StoredArray],
    rows: dict[Site, np.ndarray],
    span: tuple[int, int],
) -> None:
    dtypes, filled = {site: array.dtype for site, array in arrays.items()}, 0
    for start in range(*span, task.manifest.batch_rows):
        stop = min(start + task.manifest.batch_rows, span[1])
        kept = task.rows.kept(start, stop)
        here = {site: out[filled : filled + len(kept)] for site, out in rows.items()}
        forward(task.text("train", start, stop), list(rows), taking(here, kept, dtypes))
        filled += len(kept)


def _is_whole(
    task: StoreTask, site: Site, array: StoredArray, span: tuple[int, int], n_rows: int
) -> bool:
    path = part_path(task, site, span)
    return path.exists() and path.stat().st_size == n_rows * row_bytes(array)


def _array(task: StoreTask, site: Site) -> StoredArray:
    known = read_manifest(CalibrationManifest, task.folder.calibration_manifest(site))
    assert known is not None, "calibrated before its parts are made"
    name = f"train/{site}"
    return task.array(name, rows=task.rows.n, width=known.width, dtype=known.dtype)


@lru_cache(maxsize=1)
def _opened(
    workspace: Workspace, model: str, config: ModelConfig, weights: Weights, sites: tuple[Site, ...]
) -> tuple[StoreTask, Forward]:
    """The store and the loaded model; a process that makes several spans loads it once."""
    from pipeline.harvest.run import open_task
    from pipeline.language_model.load import load_language_model

    task = open_task(workspace, model, config, weights)
    return task, variant_forward(task, load_language_model(config, weights), sites, silent)
