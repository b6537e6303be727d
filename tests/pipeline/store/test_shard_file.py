"""Shard files: zarr's format, and damage that is found."""

from __future__ import annotations

from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import StoreError
from pipeline.harvest.task import new_array
from pipeline.store.layout import StoreFolder, chunk_rows
from pipeline.store.manifest import Shard, StoredArray
from pipeline.store.shard_file import (
    DamagedShardError,
    ShardReader,
    empty_rows,
    shard_count,
    shard_row_count,
    write_shard,
)
from pipeline.store.zarr_metadata import write_array, write_groups


def values(array: StoredArray) -> np.ndarray:
    generator = np.random.default_rng(3)
    tail = () if array.width is None else (array.width,)
    bits = generator.integers(0, 200, (array.rows, *tail))
    return bits.astype(empty_rows(array, 1).dtype)


def stored(folder: StoreFolder, array: StoredArray, data: np.ndarray) -> StoredArray:
    """The array with its shards on disk."""
    write_groups(folder)
    write_array(folder, array)
    shards = []
    for number in range(shard_count(array)):
        start = number * array.shard_rows
        rows = data[start : start + shard_row_count(array, number)]
        chunks = (rows[i : i + array.chunk_rows] for i in range(0, len(rows), array.chunk_rows))
        shards.append(write_shard(folder.shard(array, number), array, chunks))
    return array.model_copy(update={"shards": tuple(shards)})


def small(**changes: object) -> StoredArray:
    values = {"name": "train/x.0", "rows": 2500, "width": 6, "dtype": "float16"} | changes
    array = new_array(**values, shard_rows=1024)
    return array.model_copy(update={"chunk_rows": 256})


def read(folder: StoreFolder, array: StoredArray, number: int) -> np.ndarray:
    rows = shard_row_count(array, number)
    with ShardReader(folder.shard(array, number), array, number) as shard:
        return shard.read(empty_rows(array, rows))[:rows]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "uint8", "int64"])
@pytest.mark.parametrize("width", [None, 1, 6])
def test_zarr_reads_what_is_written_and_so_do_we(
    tmp_path: Path, dtype: str, width: int | None
) -> None:
    folder = StoreFolder(tmp_path)
    array = small(dtype=dtype, width=width)
    data = values(array)
    array = stored(folder, array, data)
    z = zarr.open_group(folder.zarr, mode="r")["train/x.0"]
    assert np.array_equal(z[:], data)
    assert np.array_equal(z[1000:1100], data[1000:1100])
    ours = np.concatenate([read(folder, array, number) for number in range(3)])
    assert np.array_equal(ours, data)


def test_we_read_what_zarr_writes(tmp_path: Path) -> None:
    folder, array = StoreFolder(tmp_path), small()
    write_groups(folder)
    write_array(folder, array)
    data = values(array)
    zarr.open_group(folder.zarr, mode="r+")["train/x.0"][:] = data
    ours = stored(StoreFolder(tmp_path / "ours"), array, data)
    for number in range(3):
        theirs = folder.shard(array, number).read_bytes()
        assert theirs == StoreFolder(tmp_path / "ours").shard(array, number).read_bytes()
        assert np.array_equal(read(folder, ours, number), data[number * 1024 :][:1024])


def test_zarr_itself_notices_a_flipped_byte(tmp_path: Path) -> None:
    folder, array = StoreFolder(tmp_path), small()
    stored(folder, array, values(array))
    flip(folder.shard(array, 0), 100)
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_group(folder.zarr, mode="r")["train/x.0"][:10]


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


@given(place=st.integers(0, 10_000_000))
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_is_found(tmp_path_factory: pytest.TempPathFactory, place: int) -> None:
    folder = StoreFolder(tmp_path_factory.mktemp("shard"))
    array = small(rows=300, width=2)
    array = stored(folder, array, values(array))
    path = folder.shard(array, 0)
    flip(path, place % path.stat().st_size)
    with pytest.raises(DamagedShardError, match=r"shard 0 of train/x\.0 is damaged"):
        read(folder, array, 0)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), "bytes, not"),
        (lambda path: path.write_bytes(b""), "0 bytes, not"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "outside the file"),
    ],
)
def test_missing_and_truncated_shards_are_named(tmp_path: Path, damage: object, what: str) -> None:
    folder, array = StoreFolder(tmp_path), small()
    array = stored(folder, array, values(array))
    damage(folder.shard(array, 1))
    read(folder, array, 0)
    with pytest.raises(StoreError, match=rf"shard 1 of train/x\.0 is damaged.*{what}"):
        read(folder, array, 1)


def test_a_sound_shard_in_the_wrong_place_is_found(tmp_path: Path) -> None:
    folder, array = StoreFolder(tmp_path), small()
    array = stored(folder, array, values(array))
    folder.shard(array, 1).write_bytes(folder.shard(array, 0).read_bytes())
    with pytest.raises(DamagedShardError, match="not the manifest's"):
        read(folder, array, 1)


def test_a_shard_is_verified_once_per_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, array = StoreFolder(tmp_path), small()
    array = stored(folder, array, values(array))
    computed = []
    extend = google_crc32c.extend
    monkeypatch.setattr(
        google_crc32c, "extend", lambda crc, data: computed.append(1) or extend(crc, data)
    )
    first = read(folder, array, 0)
    assert len(computed) == 4
    assert np.array_equal(read(folder, array, 0), first)
    assert len(computed) == 4


def test_part_of_an_unverified_shard_is_verified_as_a_whole(tmp_path: Path) -> None:
    folder, array = StoreFolder(tmp_path), small()
    array = stored(folder, array, values(array))
    flip(folder.shard(array, 0), 3000)
    with (
        ShardReader(folder.shard(array, 0), array, 0) as shard,
        pytest.raises(DamagedShardError, match="chunk 0"),
    ):
        shard.read(empty_rows(array, 256), 2, 3)


def test_a_shard_changed_after_it_was_verified_is_verified_again(tmp_path: Path) -> None:
    folder, array = StoreFolder(tmp_path), small()
    array = stored(folder, array, values(array))
    read(folder, array, 0)
    flip(folder.shard(array, 0), 5)
    with pytest.raises(DamagedShardError):
        read(folder, array, 0)


def test_a_single_row_is_read_by_itself(tmp_path: Path) -> None:
    folder, array = StoreFolder(tmp_path), small()
    data = values(array)
    array = stored(folder, array, data)
    with ShardReader(folder.shard(array, 2), array, 2) as shard:
        for slot in (0, 255, 256, 451):
            assert np.array_equal(shard.row(slot), data[2048 + slot])


@pytest.mark.parametrize(
    ("shard_rows", "chunk"), [(65536, 4096), (512, 512), (5000, 2500), (12288, 4096), (8191, 8191)]
)
def test_chunks_divide_the_shard(shard_rows: int, chunk: int) -> None:
    assert chunk_rows(shard_rows) == chunk
    assert shard_rows % chunk == 0


def test_a_shard_knows_rows_and_bytes(tmp_path: Path) -> None:
    folder, array = StoreFolder(tmp_path), small()
    array = stored(folder, array, values(array))
    assert [shard.rows for shard in array.shards] == [1024, 1024, 452]
    for number, shard in enumerate(array.shards):
        assert isinstance(shard, Shard)
        assert shard.n_bytes == folder.shard(array, number).stat().st_size
