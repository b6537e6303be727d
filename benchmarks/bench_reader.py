"""Reading a store against raw reads of the same files: targets 0.6 in disk order, 0.2 later.

Files are in the page cache: the strictest comparison, since a disk slows both alike. Raw means
`readinto` of each shard file into one reused buffer; the reader gives float32 batches of a
recipe's default size.
Wall time is what a trainer on a free machine sees; CPU time, of both threads together, is what
still can be read off a busy one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import zarr
from interleaved import interleave, ratio, save, verdict

from pipeline.harvest.task import new_array
from pipeline.store import shard_file
from pipeline.store.activation_store import ActivationStore
from pipeline.store.layout import StoreFolder
from pipeline.store.manifest import (
    CalibrationManifest,
    SiteManifest,
    StoredArray,
    StoreManifest,
    write_manifest,
)
from pipeline.store.shard_file import shard_count, write_shard
from pipeline.store.zarr_metadata import write_array, write_groups
from pipeline.study.names import Source

TARGETS = {"disk order, verifying": 0.6, "disk order, verified": 0.6, "later epoch": 0.2}
WIDTH, BATCH = 512, 2048
SOURCE = Source.parse("bench.trained.resid_post.0")


def make_store(root: Path, *, shards: int, shuffle: str) -> ActivationStore:
    """A store of random float16 rows."""
    folder = StoreFolder(root)
    train = written_rows(folder, shards=shards)
    site, store = manifests(train, shuffle=shuffle)
    write_manifest(folder.manifest, store)
    write_manifest(folder.site_manifest(SOURCE.site), site)
    return ActivationStore(folder, SOURCE, site)


def written_rows(folder: StoreFolder, *, shards: int) -> StoredArray:
    """The rows on disk: shards of one block of numbers, shifted from shard to shard."""
    train = new_array(
        "train/resid_post.0", rows=shards * 65536, width=WIDTH, dtype="float16", shard_rows=65536
    )
    write_groups(folder)
    write_array(folder, train)
    block = np.random.default_rng(0).standard_normal((4096, WIDTH)).astype(np.float16)
    written = [
        write_shard(folder.shard(train, n), train, (block + np.float16(n) for _ in range(16)))
        for n in range(shard_count(train))
    ]
    return train.model_copy(update={"shards": tuple(written)})


def manifests(train: StoredArray, *, shuffle: str) -> tuple[SiteManifest, StoreManifest]:
    """What a reader asks of a harvest, and made-up values for the rest."""
    empty, shared = {"n_nonfinite": 0, "n_high_norm": 0}, {"store_hash": "s"}
    calibration = CalibrationManifest(
        site="resid_post.0",
        width=WIDTH,
        dtype="float16",
        largest=1.0,
        max_norm=None,
        statistics_sha256="",
        array=train,
        **empty,
    )
    site = SiteManifest(
        source=str(SOURCE),
        source_hash="h",
        calibration=calibration,
        train=train,
        mask=train,
        tokens_run=train.rows,
        seconds=1.0,
        **shared,
        **empty,
    )
    store = StoreManifest(
        model="bench",
        weights="trained",
        corpus_hash="c",
        model_hash="m",
        n_rows=train.rows,
        context=1,
        batch_rows=1,
        shuffle=shuffle,
        harvest={},
        origin=train,
        **shared,
    )
    return site, store


def raw(store: ActivationStore) -> Callable[[], None]:
    """Every shard file read into one buffer."""
    train = store.manifest.train
    buffer = bytearray(max(shard.n_bytes for shard in train.shards))
    paths = [store.folder.shard(train, n) for n in range(shard_count(train))]

    def read() -> None:
        for path in paths:
            with path.open("rb", buffering=0) as file:
                file.readinto(buffer)

    return read


def epoch(store: ActivationStore, *, data_seed: int, verify: bool) -> Callable[[], None]:
    """One epoch of batches, from a stream that goes on from call to call."""
    batches: Iterator[torch.Tensor] = store.batches(batch_size=BATCH, data_seed=data_seed)

    def read() -> None:
        if verify:
            shard_file._verified.clear()
        for _ in islice(batches, store.n_rows // BATCH):
            pass

    return read


class CpuTimed:
    """A contender that notes the CPU seconds of each of its runs, all threads together."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        self.seconds: list[float] = []

    def __call__(self) -> None:
        """Runs the contender."""
        start = time.process_time()
        self._run()
        self.seconds.append(time.process_time() - start)


def main() -> None:
    """Prints the table; `--save` keeps it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=21)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        still = make_store(Path(folder) / "none", shards=given.shards, shuffle="none")
        shuffled = make_store(Path(folder) / "global", shards=given.shards, shuffle="global")
        array = zarr.open_group(still.path, mode="r")["train/resid_post.0"]
        contenders = {
            "raw": raw(still),
            "disk order, verifying": epoch(still, data_seed=0, verify=True),
            "disk order, verified": epoch(still, data_seed=0, verify=False),
            "later epoch": epoch(shuffled, data_seed=1, verify=False),
            "zarr": lambda: [array[i : i + 65536] for i in range(0, still.n_rows, 65536)],
        }
        timed = {name: CpuTimed(run) for name, run in contenders.items()}
        wall = interleave(timed, rounds=given.rounds)
    cpu = {name: run.seconds[-given.rounds :] for name, run in timed.items()}
    gib = still.n_rows * WIDTH * 2 / 2**30
    figures = {}
    for name in contenders:
        speed = gib / sorted(wall[name])[given.rounds // 2]
        figures[name] = {
            "gib_per_second": speed,
            "x_raw_wall": 1 / ratio(wall, name, to="raw"),
            "x_raw_cpu": 1 / ratio(cpu, name, to="raw"),
        }
        shown = figures[name]
        print(
            f"{name:<24} {speed:6.2f} GiB/s  {shown['x_raw_wall']:5.2f} x raw by wall"
            f"  {shown['x_raw_cpu']:5.2f} by CPU"
            f"  {verdict(shown['x_raw_wall'], TARGETS.get(name), at_least=True)}".rstrip()
        )
    if given.save:
        print(
            save(
                "reader",
                {
                    "gib": gib,
                    "rounds": given.rounds,
                    "load": os.getloadavg()[0],
                    "contenders": figures,
                },
            )
        )


if __name__ == "__main__":
    main()
