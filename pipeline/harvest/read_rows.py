"""The pass of the language model over the train split: one forward per batch, for all sites."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch

from pipeline.errors import StudyError
from pipeline.harvest.forward import Forward
from pipeline.harvest.parts import Dealer, SiteRows
from pipeline.harvest.task import StoreTask
from pipeline.progress import Progress, Report
from pipeline.store.manifest import CalibrationManifest
from pipeline.store.storage_dtype import numpy_dtype
from pipeline.study.names import Site

PART_SECONDS = 20.0
_MB = 1_000_000
_ORDER_BYTES = 48  # per row: numbers that sort rows into shards, and their intermediates


def open_site_rows(task: StoreTask, calibrations: Sequence[CalibrationManifest]) -> list[SiteRows]:
    """Each site's rows so far, with memory for the rows to come shared out between the sites."""
    capacity = row_capacity(task, calibrations)
    dealer = Dealer(task)
    return [SiteRows(task, c, dealer=dealer, capacity=capacity) for c in calibrations]


def read_rows(
    task: StoreTask,
    forward: Forward,
    sites: Sequence[SiteRows],
    report: Report,
    *,
    part_seconds: float = PART_SECONDS,
) -> int:
    """Runs the forward from where the least advanced site stands; returns the tokens it ran.

    A site takes part from the batch where its own rows end. Interrupted, it resumes at the last
    part; a part is written every `part_seconds` and when the memory allowed is full.
    Raises DiskFullError.
    """
    step, end = task.manifest.batch_rows, task.rows.packed_rows
    begin = min((rows.taken for rows in sites), default=end)
    note = ", ".join(str(rows.site) for rows in sites)
    last_part = time.monotonic()
    for start in range(begin, end, step):
        stop = min(start + step, end)
        wanted = {rows.site: rows for rows in sites if rows.taken == start}
        take = partial(_add, wanted, task.rows.kept(start, stop), stop)
        forward(task.text("train", start, stop), list(wanted), take)
        due = time.monotonic() - last_part >= part_seconds
        if stop < end and (due or any(rows.is_full for rows in sites)):
            for rows in sites:
                rows.flush()
            last_part = time.monotonic()
        report(Progress("harvest", int(task.rows.first_row(stop)), task.rows.n, "tokens", note))
    return (end - begin) * task.rows.context


def _add(
    rows: Mapping[Site, SiteRows], kept: np.ndarray, stop: int, site: Site, values: torch.Tensor
) -> None:
    rows[site].add(values, kept, stop=stop)


def row_capacity(task: StoreTask, calibrations: Sequence[CalibrationManifest]) -> int:
    """Rows that each site may hold in memory besides one shard, within `memory_mb`.

    Raises StudyError where one shard and one batch do not fit.
    """
    sizes = [c.width * numpy_dtype(c.dtype).itemsize for c in calibrations]
    batch = task.manifest.batch_rows * task.rows.context
    shard_rows = min(task.manifest.origin.shard_rows, task.rows.n)
    shard = shard_rows * (2 * max(sizes) + _ORDER_BYTES)
    per_row = sum(sizes) + _ORDER_BYTES
    budget = task.settings.memory_mb * _MB
    if shard + batch * per_row > budget:
        raise StudyError(
            f"harvest.memory_mb = {task.settings.memory_mb} cannot hold one shard of "
            f"{shard_rows:,} rows and one batch of {batch:,} tokens at {len(sizes)} sites, "
            f"{(shard + batch * per_row) / _MB:,.0f} MB. Raise memory_mb, or lower shard_rows."
        )
    return min(task.rows.n + batch, (budget - shard) // per_row)
