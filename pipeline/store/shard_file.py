"""One shard file of zarr v3's sharding codec, written and read without zarr.

    chunk 0 bytes, crc32c | chunk 1 bytes, crc32c | ... | index: (offset, n_bytes) per chunk, crc32c

Absent chunks, beyond the array's end, have offset and size 2^64 - 1. A shard's checksum is the
sha256 of its chunks' crc32c values and its index: checking it reads every byte once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import google_crc32c
import numpy as np

from pipeline import atomic
from pipeline.errors import StoreError
from pipeline.store.manifest import Shard, StoredArray
from pipeline.store.storage_dtype import numpy_dtype

_ABSENT = (1 << 64) - 1
_CRC = 4
_BLOCK = 1 << 19
_verified: set[tuple[str, int, int, str]] = set()


class DamagedShardError(StoreError):
    """A shard file that is missing, cut short or altered."""


def row_bytes(array: StoredArray) -> int:
    """Bytes of one row."""
    return (array.width or 1) * numpy_dtype(array.dtype).itemsize


def shard_row_count(array: StoredArray, number: int) -> int:
    """Rows of one shard: `shard_rows`, fewer in the last."""
    return min(array.shard_rows, array.rows - number * array.shard_rows)


def shard_count(array: StoredArray) -> int:
    """Number of shards of an array."""
    return -(-array.rows // array.shard_rows)


def empty_rows(array: StoredArray, rows: int) -> np.ndarray:
    """Room for `rows` rounded up to whole chunks, in the type on disk."""
    padded = -(-rows // array.chunk_rows) * array.chunk_rows
    tail = () if array.width is None else (array.width,)
    return np.empty((padded, *tail), numpy_dtype(array.dtype))


def write_shard(path: Path, array: StoredArray, chunks: Iterable[np.ndarray]) -> Shard:
    """Writes a shard from its chunks of rows, in order, whole or not at all.

    Every chunk but the last has `chunk_rows` rows. Raises DiskFullError.
    """
    size = row_bytes(array) * array.chunk_rows
    n_chunks = array.shard_rows // array.chunk_rows
    index = np.full((n_chunks, 2), _ABSENT, "<u8")
    digest = hashlib.sha256()
    rows = offset = 0
    expected = n_chunks * (size + _CRC) + index.nbytes + _CRC
    with atomic.writing_blocks(path, n_bytes=expected) as file:
        for number, chunk in enumerate(chunks):
            padded = _padded(chunk, array)
            check = _crc32c(padded)
            file.write(memoryview(padded).cast("B"))
            file.write(check)
            digest.update(check)
            index[number] = offset, size + _CRC
            offset += size + _CRC
            rows += len(chunk)
        trailer = index.tobytes() + _crc32c(index)
        digest.update(trailer)
        file.write(trailer)
    return Shard(rows=rows, n_bytes=offset + len(trailer), checksum=digest.hexdigest())


class ShardReader:
    """Reads one shard through its own index; verifies its checksum once per process.

    `name` is what errors call it. Raises DamagedShardError.
    """

    def __init__(self, path: Path, array: StoredArray, number: int) -> None:
        self._path, self._array, self._shard = path, array, array.shards[number]
        self._name = f"shard {number} of {array.name}"
        self._chunk_bytes = row_bytes(array) * array.chunk_rows
        n_chunks = array.shard_rows // array.chunk_rows
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise self._damaged("the file is missing") from error
        status = os.fstat(self._file.fileno())
        if status.st_size != self._shard.n_bytes:
            self._file.close()
            raise self._damaged(f"it has {status.st_size} bytes, not {self._shard.n_bytes}")
        self._trailer = os.pread(
            self._file.fileno(), n_chunks * 16 + _CRC, status.st_size - n_chunks * 16 - _CRC
        )
        self._index = np.frombuffer(self._trailer[:-_CRC], "<u8").reshape(-1, 2)
        self._present = -(-self._shard.rows // array.chunk_rows)
        self._key = (str(path), status.st_size, status.st_mtime_ns, self._shard.checksum)

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def is_verified(self) -> bool:
        """Whether this process has checked this very file."""
        return self._key in _verified

    def read(self, out: np.ndarray, first: int = 0, last: int | None = None) -> np.ndarray:
        """Chunks first..last (exclusive; None: all) into `out`, whole chunks; returns `out`.

        The first reading of a shard in a process verifies it, whichever chunks are asked for.
        """
        last = self._present if last is None else last
        if self.is_verified:
            for number in range(first, last):
                self._read_chunk(number, self._place(out, number - first))
        elif (first, last) == (0, self._present):
            self._verify(out)
        else:
            self.verify()
            self.read(out, first, last)
        return out

    def verify(self, *, again: bool = False) -> None:
        """Checks every byte of the shard against its checksum, unless this process did."""
        if again or not self.is_verified:
            self._verify(None)

    def row(self, slot: int) -> np.ndarray:
        """The bytes of one row, unverified: for comparing a few rows without reading the rest."""
        number, within = divmod(slot, self._array.chunk_rows)
        size = row_bytes(self._array)
        data = os.pread(self._file.fileno(), size, int(self._index[number, 0]) + within * size)
        return np.frombuffer(data, numpy_dtype(self._array.dtype))

    def _verify(self, out: np.ndarray | None) -> None:
        spare = np.empty(self._chunk_bytes, np.uint8) if out is None else None
        digest = hashlib.sha256()
        for number in range(self._present):
            place = spare if out is None else self._place(out, number)
            stored, computed = self._read_and_check(number, place)
            if computed != stored:
                raise self._damaged(f"chunk {number} does not match its crc32c")
            digest.update(stored)
        digest.update(self._trailer)
        if digest.hexdigest() != self._shard.checksum:
            raise self._damaged("its checksum is not the manifest's")
        _verified.add(self._key)

    def _place(self, out: np.ndarray, number: int) -> np.ndarray:
        rows = self._array.chunk_rows
        return out[number * rows : (number + 1) * rows]

    def _read_chunk(self, number: int, place: np.ndarray) -> None:
        """Reads one chunk into `place`."""
        self._seek(number)
        self._fill(memoryview(place).cast("B"))

    def _read_and_check(self, number: int, place: np.ndarray) -> tuple[bytes, bytes]:
        """Reads one chunk into `place`; the crc32c stored behind it and that of what was read.

        In blocks that the processor's own cache holds, so that checking reads no memory again.
        """
        offset = self._seek(number)
        data = place.reshape(-1).view(np.uint8)
        value = 0
        for start in range(0, len(data), _BLOCK):
            block = data[start : start + _BLOCK]
            self._fill(memoryview(block))
            value = google_crc32c.extend(value, block)
        stored = os.pread(self._file.fileno(), _CRC, offset + self._chunk_bytes)
        return stored, value.to_bytes(_CRC, "little")

    def _seek(self, number: int) -> int:
        """Goes to where a chunk begins."""
        offset, size = (int(value) for value in self._index[number])
        if size != self._chunk_bytes + _CRC or offset + size > self._shard.n_bytes:
            raise self._damaged("its index points outside the file")
        return self._file.seek(offset)

    def _fill(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            got = self._file.readinto(view[done:])
            if not got:
                raise self._damaged("it ends too early")
            done += got

    def _damaged(self, what: str) -> DamagedShardError:
        return DamagedShardError(f"{self._name} is damaged: {what} ({self._path}).")


def _padded(chunk: np.ndarray, array: StoredArray) -> np.ndarray:
    missing = array.chunk_rows - len(chunk)
    if missing:
        tail = np.zeros((missing, *chunk.shape[1:]), chunk.dtype)
        return np.concatenate([chunk, tail])
    return np.ascontiguousarray(chunk)


def _crc32c(data: np.ndarray) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(_CRC, "little")
