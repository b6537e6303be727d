"""Rows of a site on their way from the language model to their shards.

Rows are collected in corpus order. When the memory allowed is full, or some seconds have passed,
they are dealt by destination shard and written as one part, a file that is whole or not there:
parts/<site>/<first packed row>-<last>.bin. A harvest resumes after the last part. What a shard
holds follows from the row order alone, not from where parts begin and end.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline import atomic
from pipeline.errors import StoreError
from pipeline.harvest.forward import Take, kept_rows
from pipeline.harvest.part_probes import Probe, probed_rows, read_probes, write_probes
from pipeline.harvest.task import StoreTask
from pipeline.store.manifest import CalibrationManifest, StoredArray
from pipeline.store.shard_file import row_bytes, shard_count, shard_row_count
from pipeline.store.storage_dtype import as_tensor, numpy_dtype, torch_dtype
from pipeline.study.names import Site

_NAME = re.compile(r"([0-9]{12})-([0-9]{12})\.bin")
_COPY_BYTES = 1 << 22


@dataclass(frozen=True)
class Part:
    """A part on disk: rows of packed rows start..stop, dealt by shard; `ends` rows per shard."""

    path: Path
    start: int
    stop: int
    ends: np.ndarray


class Dealer:
    """Deals consecutive rows by destination shard; the last deal is kept for the next site."""

    def __init__(self, task: StoreTask) -> None:
        self._task = task
        self._span: tuple[int, int] = (0, 0)
        self._order = self._ends = np.empty(0, np.int64)

    def deal(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of packed rows start..stop shard by shard, and where each shard's rows end.

        Rows are counted from the first of them; inside a shard they stay in corpus order.
        """
        if self._span != (start, stop):
            shards = self._shards(start, stop)
            self._order = np.argsort(shards, kind="stable")
            self._ends = self._counted(shards)
            self._span = (start, stop)
        return self._order, self._ends

    def ends(self, start: int, stop: int) -> np.ndarray:
        """Where each shard's rows end in the deal of packed rows start..stop."""
        return self._counted(self._shards(start, stop))

    def _shards(self, start: int, stop: int) -> np.ndarray:
        first, last = self._task.rows.first_row(np.array([start, stop]))
        shard_rows = self._task.manifest.origin.shard_rows
        shards = self._task.order.position(np.arange(first, last)) // shard_rows
        # Stable sorting of 16-bit numbers is a radix sort, several times faster.
        return shards.astype(np.uint16) if self._n_shards <= 1 << 16 else shards

    def _counted(self, shards: np.ndarray) -> np.ndarray:
        return np.cumsum(np.bincount(shards, minlength=self._n_shards))

    @property
    def _n_shards(self) -> int:
        return shard_count(self._task.manifest.origin)


class SiteRows:
    """One site's rows so far: parts on disk, then rows in memory.

    `taken` packed rows have been added; those up to `kept` are in parts on disk.
    """

    def __init__(
        self, task: StoreTask, calibration: CalibrationManifest, *, dealer: Dealer, capacity: int
    ) -> None:
        self.task, self.site = task, Site.parse(calibration.site)
        self.calibration, self._dealer = calibration, dealer
        self.array = task.array(
            f"train/{self.site}", rows=task.rows.n, width=calibration.width, dtype=calibration.dtype
        )
        self.parts = _parts_on_disk(task, self.site, self.array, dealer)
        self.kept = self.taken = self.parts[-1].stop if self.parts else 0
        self._pending = np.empty((capacity, calibration.width), numpy_dtype(self.array.dtype))
        self._filled = 0
        self._probed = probed_rows(task.rows.n)
        self._probes: list[Probe] = []
        for part in self.parts:
            self._probes += read_probes(task, part.path, self.array, (part.start, part.stop))

    @property
    def is_full(self) -> bool:
        """Whether another batch may not fit."""
        batch = self.task.manifest.batch_rows * self.task.rows.context
        return self._filled + batch > len(self._pending)

    @property
    def probes(self) -> list[Probe]:
        """A few (row, stored bytes) as the language model gave them, for a later comparison."""
        return self._probes

    def add(self, activations: torch.Tensor, kept: np.ndarray, *, stop: int) -> None:
        """Takes the rows of a batch (b, t, d) that ends before packed row `stop`."""
        end = self._filled + len(kept)
        take_rows(activations, kept, self._pending[self._filled : end], dtype=self.array.dtype)
        first = int(self.task.rows.first_row(self.taken))
        near = np.searchsorted(self._probed, [first, first + len(kept)])
        for row in self._probed[near[0] : near[1]]:
            self._probes.append((int(row), self._pending[self._filled + row - first].copy()))
        self._filled, self.taken = end, stop

    def flush(self) -> None:
        """Writes the rows in memory as one part; raises DiskFullError."""
        if not self._filled:
            return
        path, ends = write_part(
            self.task,
            self.site,
            self.array,
            self._dealer,
            self._pending[: self._filled],
            (self.kept, self.taken),
        )
        self.parts.append(Part(path, self.kept, self.taken, ends))
        self.kept, self._filled = self.taken, 0

    def shard_rows(self, shard: int) -> tuple[np.ndarray, np.ndarray]:
        """A shard's rows: an array (m, d), and which of its rows they are in corpus order."""
        order, ends = self._dealer.deal(self.kept, self.taken)
        first, last = _span(ends, shard)
        if not self.parts:
            return self._pending, order[first:last]
        n = shard_row_count(self.array, shard)
        rows = np.empty((n, self.calibration.width), self._pending.dtype)
        done = 0
        for part in self.parts:
            begin, end = _span(part.ends, shard)
            self._read_part(part, begin, rows[done : done + end - begin])
            done += end - begin
        np.take(self._pending, order[first:last], axis=0, out=rows[done:], mode="clip")
        return rows, np.arange(n)

    def discard(self) -> None:
        """Frees memory and removes the parts: the site is complete."""
        self._pending, self._filled = self._pending[:0], 0
        if self.task.folder.parts(self.site).exists():
            shutil.rmtree(self.task.folder.parts(self.site))

    def _read_part(self, part: Part, first: int, out: np.ndarray) -> None:
        with part.path.open("rb") as file:
            file.seek(first * row_bytes(self.array))
            if file.readinto(out) != out.nbytes:
                raise StoreError(
                    f"{part.path} is cut short. Remove it and repeat the command: the harvest "
                    "resumes at the part before."
                )


def taking(out: Mapping[Site, np.ndarray], kept: np.ndarray, dtype: Mapping[Site, str]) -> Take:
    """What puts the kept rows of a batch at each site into `out` (m, d), in the type on disk."""

    def take(site: Site, activations: torch.Tensor) -> None:
        take_rows(activations, kept, out[site], dtype=dtype[site])

    return take


def take_rows(activations: torch.Tensor, kept: np.ndarray, out: np.ndarray, *, dtype: str) -> None:
    """The kept rows of a batch (b, t, d) into `out` (m, d), in the type on disk."""
    values = kept_rows(activations, kept)
    if values.device.type != "cpu":
        values = values.to(torch_dtype(dtype))  # half the bytes to transfer
    as_tensor(out, dtype).copy_(values)


def part_path(task: StoreTask, site: Site, span: tuple[int, int]) -> Path:
    """Where the part of packed rows start..stop lies."""
    return task.folder.parts(site) / f"{span[0]:012d}-{span[1]:012d}.bin"


def write_part(
    task: StoreTask,
    site: Site,
    array: StoredArray,
    dealer: Dealer,
    rows: np.ndarray,
    span: tuple[int, int],
) -> tuple[Path, np.ndarray]:
    """Writes the rows (m, d) of packed rows start..stop as one part; gives its path and `ends`.

    A few of them as they are given are kept beside it.

    Raises DiskFullError.
    """
    path = part_path(task, site, span)
    order, ends = dealer.deal(*span)
    write_probes(task, path, rows, span)
    step = max(1, _COPY_BYTES // row_bytes(array))
    expected = len(rows) * row_bytes(array)
    with atomic.writing_blocks(path, n_bytes=expected) as file:
        for start in range(0, len(order), step):
            taken = np.take(rows, order[start : start + step], axis=0)
            file.write(memoryview(taken).cast("B"))
    return path, ends


def _span(ends: np.ndarray, shard: int) -> tuple[int, int]:
    return (int(ends[shard - 1]) if shard else 0), int(ends[shard])


def _parts_on_disk(task: StoreTask, site: Site, array: StoredArray, dealer: Dealer) -> list[Part]:
    """Complete parts that follow one another from the start; any other file is removed."""
    folder = task.folder.parts(site)
    parts: list[Part] = []
    for path in sorted(folder.glob("*.bin")):
        match = _NAME.fullmatch(path.name)
        start, stop = (int(match[1]), int(match[2])) if match else (-1, -1)
        first, last = task.rows.first_row(np.array([start, stop]))
        follows = start == (parts[-1].stop if parts else 0)
        if follows and path.stat().st_size == (last - first) * row_bytes(array):
            parts.append(Part(path, start, stop, dealer.ends(start, stop)))
        else:
            path.unlink()
    return parts
