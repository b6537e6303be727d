"""Shards at a remote place, read through the workspace's own disk, of which they use so much.

The files in the workspace are the cache: one that is missing is fetched whole and checked like any
other; the ones read longest ago go first when `cache_gb` is full. Only shards of sites that were
sent, or came from there, can go.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import RemoteError
from pipeline.locks import turn
from pipeline.remote.objects import objects_at
from pipeline.remote.place import Remote
from pipeline.store.layout import StoreFolder
from pipeline.store.manifest import StoredArray
from pipeline.store.shard_file import DamagedShardError, ShardReader
from pipeline.workspace import Workspace

_TURNS = 16
_TRIES = 3
_GB = 1e9


def open_shard(folder: StoreFolder, array: StoredArray, number: int) -> ShardReader:
    """The reader of a shard, fetched where it is at the remote place only.

    Raises DamagedShardError for a shard that is nowhere, and RemoteError.
    """
    path = folder.shard(array, number)
    for _ in range(_TRIES):
        there = _fetch_missing(folder, array, number)
        try:
            return ShardReader(path, array, number)
        except DamagedShardError:
            if not there or path.exists():
                raise
            # Another process made room between the look and the opening.
    raise RemoteError(
        f"{path} was fetched {_TRIES} times and removed each time to make room. Other processes "
        "read other shards: allow more with `sae remote URL --cache-gb`."
    )


def renew(folder: StoreFolder, array: StoredArray, number: int) -> bool:
    """Replaces a damaged shard by the remote place's; whether that one is whole."""
    if folder.remote is None:
        return False
    folder.shard(array, number).unlink(missing_ok=True)
    try:
        with open_shard(folder, array, number) as shard:
            shard.verify(again=True)
    except DamagedShardError:
        return False
    return True


def send(folder: StoreFolder, path: Path) -> None:
    """Makes an object of a file of the store; nothing where there is no remote place."""
    if folder.remote is not None:
        objects_at(folder.remote.url).put(path, folder.remote.key(path))


def fetch(folder: StoreFolder, path: Path) -> bool:
    """Makes a file of the store from its object; False where there is none."""
    assert folder.remote is not None
    try:
        objects_at(folder.remote.url).get(folder.remote.key(path), path)
    except FileNotFoundError:
        return False
    return True


def _fetch_missing(folder: StoreFolder, array: StoredArray, number: int) -> bool:
    """Fetches a shard that is not here; False where there is nothing to fetch it from."""
    if folder.remote is None:
        return False
    path = folder.shard(array, number)
    if _used(path):
        return True
    # Ranks that read the same shard wait for the one that fetches it.
    with turn(Workspace(folder.remote.root), f"fetch-{number % _TURNS}"):
        if _used(path):
            return True
        make_room(folder.remote, array.shards[number].n_bytes)
        return fetch(folder, path)


def _used(path: Path) -> bool:
    """Notes that a file is read now, without changing when it was written; False for no file."""
    try:
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    except FileNotFoundError:
        return False
    return True


def make_room(remote: Remote, n_bytes: int) -> None:
    """Removes the shards read longest ago until `n_bytes` more fit; one shard is always allowed."""
    found = [(path, path.stat()) for path in cached_shards(remote)]
    total = n_bytes + sum(status.st_size for _, status in found)
    for path, status in sorted(found, key=lambda one: one[1].st_atime_ns):
        if total <= remote.cache_gb * _GB:
            return
        path.unlink(missing_ok=True)
        total -= status.st_size


def cached_shards(remote: Remote) -> Iterator[Path]:
    """The shard files in the workspace that lie at the remote place as well."""
    for marker in sorted((remote.root / "activations").glob("*/*/manifests/*.remote.json")):
        if json.loads(marker.read_text())["url"] == remote.url:
            zarr = StoreFolder(marker.parents[1]).zarr
            site = marker.name.removesuffix(".remote.json")
            for name in ("train", "mask", "calibration"):
                yield from _files(zarr / name / site / "c")


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names if ".partial-" not in name)
