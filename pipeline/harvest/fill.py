"""Adding sites to a store: calibration, one pass over the train split, shards, manifest."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline import atomic
from pipeline.errors import StoreError
from pipeline.harvest.calibrate import calibrate
from pipeline.harvest.forward import Forward
from pipeline.harvest.masked_share import check_masked
from pipeline.harvest.parts import SiteRows
from pipeline.harvest.place_rows import place_rows
from pipeline.harvest.read_rows import PART_SECONDS, open_site_rows, read_rows
from pipeline.harvest.shuffle_quality import ShuffleStatistic, exact_count, shuffle_quality
from pipeline.harvest.task import StoreTask
from pipeline.progress import Report
from pipeline.store.layout import StoreFolder
from pipeline.store.manifest import (
    CalibrationManifest,
    SiteManifest,
    StoredArray,
    read_manifest,
    write_manifest,
)
from pipeline.store.row_mask import HIGH_NORM, NONFINITE
from pipeline.store.shard_file import ShardReader, empty_rows, shard_count, shard_row_count
from pipeline.study.names import Site


def fill_store(
    task: StoreTask,
    forward: Forward,
    sites: Sequence[Site],
    report: Report,
    *,
    source_hash: dict[Site, str],
    part_seconds: float = PART_SECONDS,
) -> None:
    """Makes the sites of a store that are missing; the language model runs once for all of them.

    Whatever was finished before an interruption is kept, and the bytes written do not depend on
    where it was. Raises StoreError where too many calibration rows are masked, DiskFullError.
    """
    missing = [site for site in sites if _manifest(task, site) is None]
    if not missing:
        return
    begun = time.monotonic()
    atomic.sweep_leftovers(task.folder.root)
    calibrations = calibrated(task, forward, missing, report)
    rows = open_site_rows(task, calibrations)
    tokens_run = read_rows(task, forward, rows, report, part_seconds=part_seconds)
    seconds = time.monotonic() - begun
    _measure_quality(task)
    for site_rows in rows:
        _complete(
            task,
            site_rows,
            report,
            source_hash=source_hash[site_rows.site],
            tokens_run=tokens_run,
            seconds=seconds,
        )


def calibrated(
    task: StoreTask, forward: Forward, sites: Sequence[Site], report: Report
) -> list[CalibrationManifest]:
    """What the calibration split says of sites, measured where it was not.

    Raises StoreError where too many of its rows are masked.
    """
    missing = [site for site in sites if _calibration(task, site) is None]
    if missing:
        calibrate(task, forward, missing, report)
    return [_checked_calibration(task, site) for site in sites]


def read_quality(folder: StoreFolder, site: Site) -> list[ShuffleStatistic]:
    """The statistics of a complete store's order, and whether the site's rows lie where it says."""
    entries = json.loads(folder.shuffle_quality.read_text())
    return [ShuffleStatistic(**entry) for entry in [*entries, _probe(folder, site)]]


def _complete(
    task: StoreTask,
    rows: SiteRows,
    report: Report,
    *,
    source_hash: str,
    tokens_run: int,
    seconds: float,
) -> None:
    """Writes a site's shards, compares a few rows with what the model gave, then the manifest."""
    begun = time.monotonic()
    train, mask, counts = place_rows(rows, report)
    mismatches = exact_count("probe_mismatches", _mismatches(task, train, rows.probes))
    atomic.write_json(task.folder.probes(rows.site), asdict(mismatches))
    manifest = SiteManifest(
        source=str(task.source(rows.site)),
        source_hash=source_hash,
        store_hash=task.manifest.store_hash,
        calibration=rows.calibration,
        train=train,
        mask=mask,
        n_nonfinite=counts[NONFINITE],
        n_high_norm=counts[HIGH_NORM],
        tokens_run=tokens_run,
        seconds=seconds + time.monotonic() - begun,
    )
    write_manifest(task.folder.site_manifest(rows.site), manifest)
    rows.discard()


def _probe(folder: StoreFolder, site: Site) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(folder.probes(site).read_text())
    return entry


def _measure_quality(task: StoreTask) -> None:
    path = task.folder.shuffle_quality
    if not path.exists():
        shard_rows = task.manifest.origin.shard_rows
        measured = shuffle_quality(_origins(task), task.rows, task.order, shard_rows=shard_rows)
        atomic.write_json(path, [asdict(statistic) for statistic in measured])


def _mismatches(task: StoreTask, train: StoredArray, probes: list[tuple[int, np.ndarray]]) -> int:
    """How many probed rows differ on disk, at the position the order gives them."""
    positions = task.order.position(np.array([row for row, _ in probes], np.int64))
    numbers, slots = np.divmod(positions, train.shard_rows)
    wrong = 0
    for number in np.unique(numbers).tolist():
        with ShardReader(task.folder.shard(train, number), train, number) as shard:
            for index in np.flatnonzero(numbers == number):
                stored = shard.row(int(slots[index]))
                wrong += stored.tobytes() != probes[index][1].tobytes()
    return wrong


def _origins(task: StoreTask) -> Iterator[np.ndarray]:
    origin = task.manifest.origin
    for number in range(shard_count(origin)):
        rows = shard_row_count(origin, number)
        with ShardReader(task.folder.shard(origin, number), origin, number) as shard:
            yield shard.read(empty_rows(origin, rows))[:rows]


def _manifest(task: StoreTask, site: Site) -> SiteManifest | None:
    return read_manifest(SiteManifest, task.folder.site_manifest(site))


def _calibration(task: StoreTask, site: Site) -> CalibrationManifest | None:
    return read_manifest(CalibrationManifest, task.folder.calibration_manifest(site))


def _checked_calibration(task: StoreTask, site: Site) -> CalibrationManifest:
    manifest = _calibration(task, site)
    if manifest is None:
        raise StoreError(
            f"{task.folder.calibration_manifest(site)} has gone while it was needed. "
            "Repeat the command."
        )
    check_masked(
        task.source(site),
        task.settings,
        split="calibration",
        nonfinite=manifest.n_nonfinite,
        high_norm=manifest.n_high_norm,
        rows=manifest.array.rows,
    )
    return manifest
