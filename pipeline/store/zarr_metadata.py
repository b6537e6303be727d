"""The zarr v3 metadata of a store: zarr writes the text, the pipeline writes the file."""

from __future__ import annotations

import zarr
from zarr.codecs import Crc32cCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from pipeline import atomic
from pipeline.store.layout import StoreFolder
from pipeline.store.manifest import StoredArray
from pipeline.store.storage_dtype import numpy_dtype

_GROUPS = ("", "train", "mask", "calibration")
_FILE = "zarr.json"


def write_groups(folder: StoreFolder) -> None:
    """Makes the store's groups, where missing."""
    memory: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(memory))
    for group in _GROUPS:
        path = folder.array(group) / _FILE
        if not path.exists():
            atomic.write_bytes(path, memory[_FILE].to_bytes())


def write_array(folder: StoreFolder, array: StoredArray) -> None:
    """Describes an array: sharding, no compression, a crc32c after every chunk.

    The attribute `dtype` names the type of the values, which for bfloat16 is not zarr's.
    """
    tail = () if array.width is None else (array.width,)
    memory: dict[str, Buffer] = {}
    zarr.create_array(
        MemoryStore(memory),
        shape=(array.rows, *tail),
        dtype=numpy_dtype(array.dtype),
        chunks=(array.chunk_rows, *tail),
        shards=(array.shard_rows, *tail),
        compressors=[Crc32cCodec()],
        filters=None,
        fill_value=0,
        attributes={"dtype": array.dtype},
    )
    atomic.write_bytes(folder.array(array.name) / _FILE, memory[_FILE].to_bytes())
