"""Mending damaged shards: the language model runs again, only what is damaged is rewritten."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from pipeline import atomic
from pipeline.errors import StoreError
from pipeline.harvest.calibrate import (
    calibration_rows,
    calibration_statistics,
    read_calibration,
    stored_calibration,
    write_calibration_shard,
)
from pipeline.harvest.damage import batches_of, find_damage
from pipeline.harvest.forward import Forward
from pipeline.harvest.parts import taking
from pipeline.harvest.place_rows import chunk_mask, write_mask_shard
from pipeline.harvest.run import open_task
from pipeline.harvest.task import StoreTask, write_origin_shard
from pipeline.harvest.variant_forward import variant_forward
from pipeline.progress import Progress, Report, silent
from pipeline.remote.shards import open_shard
from pipeline.remote.sources import send_mended
from pipeline.store.manifest import Shard, SiteManifest, StoredArray, read_manifest
from pipeline.store.row_mask import row_mask
from pipeline.store.shard_file import (
    empty_rows,
    row_bytes,
    shard_count,
    shard_row_count,
    write_shard,
)
from pipeline.store.storage_dtype import as_tensor, numpy_dtype
from pipeline.study.config import ModelConfig
from pipeline.study.names import Site, Source
from pipeline.workspace import Workspace

_MB = 1_000_000


@dataclass(frozen=True)
class MendResult:
    """What was damaged, such as `shard 3 of train/resid_post.3`, and what mending it took."""

    source: Source
    damaged: list[str]
    tokens_run: int
    seconds: float


def mend(
    workspace: Workspace,
    model_name: str,
    config: ModelConfig,
    source: Source,
    *,
    report: Report = silent,
) -> MendResult:
    """Finds a source's damaged shards and rewrites them, byte-equal to what they were.

    What it will cost is reported before the language model runs. Raises StoreError where the
    bytes come out otherwise: then libraries, device or threads are not those of the harvest.
    """
    from pipeline.language_model.load import load_language_model
    from pipeline.locks import device_lock

    task = open_task(workspace, model_name, config, source.weights)

    def load() -> Forward:
        lm = load_language_model(config, source.weights)
        return variant_forward(task, lm, [source.site], report)

    with device_lock(workspace, f"mending {source}"):
        return mend_source(task, source, load, report=report)


def mend_source(
    task: StoreTask, source: Source, load: Callable[[], Forward], *, report: Report
) -> MendResult:
    """The same for an open store; `load` gives the forward, if one is needed."""
    begun = time.monotonic()
    manifest = site_manifest(task, source)
    damage = find_damage(task, manifest)
    names = damage.names(manifest, task.manifest.origin)
    if names:
        note = f"{', '.join(names)}: the model runs over {damage.tokens:,} tokens again"
        report(Progress("mend", 0, max(1, damage.tokens), "tokens", note=note))
    for number in damage.origin:
        origin = task.manifest.origin
        shard = write_origin_shard(task.folder, origin, number, rows=task.rows, order=task.order)
        _check_equal(origin, number, shard)
    if damage.tokens:
        calibration = damage.calibration
        if damage.gaussian:
            # Loading matches it anew; all that was drawn from it for calibration proves it.
            task.folder.gaussian(source.site).unlink(missing_ok=True)
            calibration = list(range(shard_count(manifest.calibration.array)))
        forward = load()
        _mend_calibration(task, manifest, calibration, forward, report)
        for group in _groups(task, manifest.train, damage.train):
            _mend_train(task, manifest, group, forward, report)
    for number in damage.mask:
        _mend_mask(task, manifest, number)
    if damage.statistics:
        _mend_statistics(task, manifest)
    if names:
        shards = damage.shards(manifest, task.manifest.origin)
        send_mended(task.folder, source.site, shards)
    return MendResult(source, names, damage.tokens, time.monotonic() - begun)


def site_manifest(task: StoreTask, source: Source) -> SiteManifest:
    """The manifest of a complete source; raises StoreError where it is not complete."""
    manifest = read_manifest(SiteManifest, task.folder.site_manifest(source.site))
    if manifest is None:
        raise StoreError(
            f"{source} is not complete in {task.folder.root}, so there is nothing to mend. "
            "Harvest it: run the study again."
        )
    return manifest


def _groups(task: StoreTask, array: StoredArray, shards: list[int]) -> Iterable[list[int]]:
    """Shards that are mended in one pass, as many as the memory allowed holds."""
    size = row_bytes(array) * min(array.shard_rows, array.rows)
    most = max(1, task.settings.memory_mb * _MB // (2 * size))
    return [shards[i : i + most] for i in range(0, len(shards), most)]


def _mend_train(
    task: StoreTask,
    manifest: SiteManifest,
    shards: list[int],
    forward: Forward,
    report: Report,
) -> None:
    array = manifest.train
    site = Site.parse(manifest.calibration.site)
    room = {number: empty_rows(array, shard_row_count(array, number)) for number in shards}
    batches = batches_of(task, array, shards)
    for done, (start, stop) in enumerate(batches, 1):
        kept = task.rows.kept(start, stop)
        values = np.empty((len(kept), array.width), numpy_dtype(array.dtype))
        take = taking({site: values}, kept, {site: array.dtype})
        forward(task.text("train", start, stop), [site], take)
        first, last = task.rows.first_row(np.array([start, stop]))
        numbers, slots = np.divmod(task.order.position(np.arange(first, last)), array.shard_rows)
        for number, place in room.items():
            here = np.flatnonzero(numbers == number)
            place[slots[here]] = values[here]
        report(Progress("mend", done, len(batches), "batches", note=str(site)))
    for number, place in room.items():
        rows_here = place[: shard_row_count(array, number)]
        shard = write_shard(
            task.folder.shard(array, number), array, _chunks(rows_here, array.chunk_rows)
        )
        _check_equal(array, number, shard)


def _mend_calibration(
    task: StoreTask,
    manifest: SiteManifest,
    shards: list[int],
    forward: Forward,
    report: Report,
) -> None:
    if not shards:
        return
    site, array = Site.parse(manifest.calibration.site), manifest.calibration.array
    x = read_calibration(task, forward, [site], calibration_rows(task), report)[site]
    stored = stored_calibration(x, array.dtype)
    for number in shards:
        _check_equal(array, number, write_calibration_shard(task, array, number, stored))


def _mend_statistics(task: StoreTask, manifest: SiteManifest) -> None:
    calibration, array = manifest.calibration, manifest.calibration.array
    pieces = []
    for number in range(shard_count(array)):
        rows = shard_row_count(array, number)
        with open_shard(task.folder, array, number) as shard:
            pieces.append(shard.read(empty_rows(array, rows))[:rows])
    values = as_tensor(np.concatenate(pieces), array.dtype).float()
    data = calibration_statistics(values, row_mask(values, calibration.max_norm))
    if hashlib.sha256(data).hexdigest() != calibration.statistics_sha256:
        raise _differs("The statistics were")
    atomic.write_bytes(task.folder.statistics(Site.parse(calibration.site)), data)


def _mend_mask(task: StoreTask, manifest: SiteManifest, number: int) -> None:
    train = manifest.train
    with open_shard(task.folder, train, number) as shard:
        rows = shard.read(empty_rows(train, shard_row_count(train, number)))
    chunks = _chunks(rows[: shard_row_count(train, number)], train.chunk_rows)
    values = np.concatenate([chunk_mask(chunk, manifest.calibration) for chunk in chunks])
    _check_equal(manifest.mask, number, write_mask_shard(task, manifest.mask, number, values))


def _chunks(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _check_equal(array: StoredArray, number: int, shard: Shard) -> None:
    if shard.checksum != array.shards[number].checksum:
        raise _differs(f"Shard {number} of {array.name} was")


def _differs(what: str) -> StoreError:
    return StoreError(
        f"{what} made again, but the bytes differ from the harvest's: the libraries, the device or "
        "the number of threads are others now. Mend where it was harvested, or remove the store "
        "and harvest again."
    )
