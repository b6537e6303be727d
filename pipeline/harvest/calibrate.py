"""The calibration split, read before the train split: storage type, norm limit, statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from pipeline import atomic
from pipeline.harvest.forward import Forward, kept_rows
from pipeline.harvest.masked_share import check_masked
from pipeline.harvest.statistics import source_statistics
from pipeline.harvest.task import StoreTask
from pipeline.harvest.token_rows import TokenRows, token_rows
from pipeline.hashing import file_hash
from pipeline.progress import Progress, Report
from pipeline.store.manifest import CalibrationManifest, Shard, StoredArray, write_manifest
from pipeline.store.permutation import KeyedPermutation
from pipeline.store.row_mask import HIGH_NORM, NONFINITE, OK, row_mask
from pipeline.store.shard_file import shard_count, shard_row_count, write_shard
from pipeline.store.statistics_file import statistics_to_bytes
from pipeline.store.storage_dtype import as_tensor, choose, numpy_dtype, torch_dtype
from pipeline.study.names import Site

_MB = 1_000_000


def calibrate(task: StoreTask, forward: Forward, sites: Sequence[Site], report: Report) -> None:
    """Reads the calibration split at `sites` and writes what it says of each.

    Sites are read together as far as `memory_mb` holds their rows in float32.
    Raises StoreError where too many rows are non-finite or of high norm.
    """
    rows = calibration_rows(task)
    for group in groups_of_sites(task, forward, sites, rows):
        for site, x in read_calibration(task, forward, group, rows, report).items():
            _write(task, site, stored_rows(task, site, x))


def calibration_rows(task: StoreTask) -> TokenRows:
    """The calibration rows: the first `calibration_tokens` of the split, or all it has."""
    available = task.corpus.n_tokens("calibration")
    wanted = min(task.settings.calibration_tokens, available)
    return token_rows(task.corpus, "calibration", tokens=wanted)


def read_calibration(
    task: StoreTask, forward: Forward, sites: Sequence[Site], rows: TokenRows, report: Report
) -> dict[Site, torch.Tensor]:
    """The calibration rows (n, d) fp32 of each site, in a keyed random order."""
    step = task.manifest.batch_rows
    found: dict[Site, torch.Tensor] = {}
    order = KeyedPermutation(rows.n, "calibration", task.settings.shuffle_seed)
    for start in range(0, rows.packed_rows, step):
        stop = min(start + step, rows.packed_rows)
        first, last = (int(row) for row in rows.first_row(np.array([start, stop])))
        places = torch.from_numpy(order.position(np.arange(first, last)))
        take = partial(_place, found, rows.n, places, rows.kept(start, stop))
        forward(task.text("calibration", start, stop), sites, take)
        report(Progress("calibrate", last, rows.n, "tokens", note=", ".join(map(str, sites))))
    return found


def _place(
    found: dict[Site, torch.Tensor],
    n: int,
    places: torch.Tensor,
    kept: np.ndarray,
    site: Site,
    activations: torch.Tensor,
) -> None:
    """Puts a batch's kept rows at their places among the site's n rows."""
    if site not in found:
        found[site] = torch.empty(n, activations.shape[-1])
    found[site][places] = kept_rows(activations, kept).float().cpu()


@dataclass(frozen=True)
class StoredRows:
    """A site's calibration rows as they are stored; `values` (n, d) the same as float32.

    `largest` finite entry; `limit` of a row's norm, None where there is none; `mask` (n,).
    """

    stored: np.ndarray
    dtype: str
    values: torch.Tensor
    largest: float
    limit: float | None
    mask: np.ndarray

    @property
    def usable(self) -> torch.Tensor:
        """The rows that are not masked."""
        return self.values[torch.from_numpy(self.mask == OK)]


def stored_rows(task: StoreTask, site: Site, x: torch.Tensor) -> StoredRows:
    """Calibration rows (n, d) fp32 in the storage type that holds them, and what is masked.

    Raises StoreError where too many rows are non-finite or of high norm.
    """
    finite = x[torch.isfinite(x)]
    largest = float(finite.abs().max()) if len(finite) else 0.0
    dtype = choose(task.settings.dtype, largest)
    stored = stored_calibration(x, dtype)
    values = as_tensor(stored, dtype).float()
    limit = _norm_limit(values, task.settings.high_norm_factor)
    mask = row_mask(values, limit)
    check_masked(
        task.source(site),
        task.settings,
        split="calibration",
        nonfinite=int((mask == NONFINITE).sum()),
        high_norm=int((mask == HIGH_NORM).sum()),
        rows=len(x),
    )
    return StoredRows(stored, dtype, values, largest, limit, mask)


def stored_calibration(x: torch.Tensor, dtype: str) -> np.ndarray:
    """Rows (n, d) fp32 as they are stored."""
    stored = np.empty(x.shape, numpy_dtype(dtype))
    as_tensor(stored, dtype).copy_(x.to(torch_dtype(dtype)))
    return stored


def write_calibration_shard(
    task: StoreTask, array: StoredArray, number: int, stored: np.ndarray
) -> Shard:
    """Writes one shard of the calibration rows."""
    start = number * array.shard_rows
    rows = stored[start : start + shard_row_count(array, number)]
    chunks = (rows[i : i + array.chunk_rows] for i in range(0, len(rows), array.chunk_rows))
    return write_shard(task.folder.shard(array, number), array, chunks)


def calibration_statistics(values: torch.Tensor, mask: np.ndarray) -> bytes:
    """The statistics of the rows that are not masked, as they are stored."""
    return statistics_to_bytes(source_statistics(values[torch.from_numpy(mask == OK)]))


def _write(task: StoreTask, site: Site, rows: StoredRows) -> None:
    from pipeline.store.zarr_metadata import write_array

    stored, mask = rows.stored, rows.mask
    atomic.write_bytes(task.folder.statistics(site), calibration_statistics(rows.values, mask))
    name = f"calibration/{site}"
    array = task.array(name, rows=len(stored), width=stored.shape[1], dtype=rows.dtype)
    write_array(task.folder, array)
    shards = [
        write_calibration_shard(task, array, number, stored) for number in range(shard_count(array))
    ]
    manifest = CalibrationManifest(
        site=str(site),
        width=stored.shape[1],
        dtype=rows.dtype,
        largest=rows.largest,
        max_norm=rows.limit,
        n_nonfinite=int((mask == NONFINITE).sum()),
        n_high_norm=int((mask == HIGH_NORM).sum()),
        statistics_sha256=file_hash(task.folder.statistics(site)),
        array=array.model_copy(update={"shards": tuple(shards)}),
    )
    write_manifest(task.folder.calibration_manifest(site), manifest)


def _norm_limit(values: torch.Tensor, factor: float) -> float | None:
    """`factor` times the median norm of the finite rows; None where that median is 0."""
    norms = torch.linalg.vector_norm(values, dim=1)
    finite = norms[torch.isfinite(norms)]
    median = float(finite.median()) if len(finite) else 0.0
    return factor * median if median > 0 else None


def groups_of_sites(
    task: StoreTask, forward: Forward, sites: Sequence[Site], rows: TokenRows
) -> list[list[Site]]:
    """Sites that are read together, so that their rows stay within the memory allowed."""
    first = task.text("calibration", 0, 1)
    widths: dict[Site, int] = {}

    def measure(site: Site, x: torch.Tensor) -> None:
        widths[site] = x.shape[-1]

    forward(first, sites, measure)
    groups: list[list[Site]] = [[]]
    left = budget = task.settings.memory_mb * _MB
    for site in sites:
        size = rows.n * widths[site] * 4
        if groups[-1] and size > left:
            groups.append([])
            left = budget
        groups[-1].append(site)
        left -= size
    return groups
