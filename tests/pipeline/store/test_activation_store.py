"""Reading a store back in batches."""

from __future__ import annotations

import json
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import StoreError
from pipeline.store.activation_store import ActivationStore
from pipeline.store.epoch_order import EpochOrder
from pipeline.study.names import Source
from pipeline.workspace import Workspace
from tests.pipeline.harvest.fake_model import (
    SITES,
    FakeCorpus,
    FakeForward,
    fill,
    opened,
    task_in,
    token_ids,
)

ROWS = 1700  # shards of 512: three full ones and a short one


def store_in(folder: Path, **changes: object) -> ActivationStore:
    task = task_in(folder, FakeCorpus(), **({"tokens": ROWS} | changes))
    fill(task, SITES[:1])
    return opened(task, SITES[0])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ActivationStore:
    return store_in(tmp_path_factory.mktemp("store"))


def taken(store: ActivationStore, n: int, **how: int) -> list[torch.Tensor]:
    batches = store.batches(**how)
    try:
        return list(islice(batches, n))
    finally:
        batches.close()


def test_the_first_epoch_of_data_seed_0_is_the_order_on_disk(store: ActivationStore) -> None:
    found = torch.cat(taken(store, 17, batch_size=100, data_seed=0))
    assert torch.equal(found, store.read(0, ROWS))


@pytest.mark.parametrize("data_seed", [0, 1])
@pytest.mark.parametrize("batch_size", [64, 100, 700, 2000])
def test_every_epoch_visits_every_row_once_and_wastes_none(
    store: ActivationStore, data_seed: int, batch_size: int
) -> None:
    epochs = 3
    n = -(-ROWS * epochs // batch_size)
    batches = taken(store, n, batch_size=batch_size, data_seed=data_seed)
    assert {len(batch) for batch in batches} == {batch_size}
    ids = np.concatenate([token_ids(batch) for batch in batches])[: ROWS * epochs]
    expected = np.sort(token_ids(store.read(0, ROWS)))
    for epoch in np.split(ids, epochs):
        assert np.array_equal(np.sort(epoch), expected)


@pytest.mark.parametrize("start", [1, 5, 17, 18, 40, 1000])
def test_batch_b_is_the_same_wherever_reading_starts(store: ActivationStore, start: int) -> None:
    how = {"batch_size": 100, "data_seed": 3}
    if start <= 40:
        assert torch.equal(
            taken(store, 1, **how, start=start)[0], taken(store, start + 1, **how)[-1]
        )
    again = taken(store, 2, **how, start=start)
    assert torch.equal(again[1], taken(store, 1, **how, start=start + 1)[0])


def test_epochs_and_data_seeds_differ(store: ActivationStore) -> None:
    first = taken(store, 17 * 3, batch_size=100, data_seed=0)
    other = taken(store, 17, batch_size=100, data_seed=1)
    epochs = [np.concatenate([token_ids(b) for b in first[i * 17 : i * 17 + 17]]) for i in range(3)]
    epochs.append(np.concatenate([token_ids(b) for b in other]))
    for i, one in enumerate(epochs):
        for another in epochs[:i]:
            assert (one == another).mean() < 0.02


@pytest.mark.parametrize("shuffle", ["none", "sequence", "buffer"])
def test_stores_of_other_modes_keep_their_order_in_every_epoch(
    tmp_path: Path, shuffle: str
) -> None:
    store = store_in(tmp_path, shuffle=shuffle)
    batches = taken(store, 34, batch_size=100, data_seed=5)
    rows = store.read(0, ROWS)
    assert torch.equal(torch.cat(batches), torch.cat([rows, rows]))


def test_reading_is_spread_over_shards_of_every_epoch() -> None:
    order = EpochOrder(n_rows=ROWS, shard_rows=512, data_seed=2, is_shuffled=True)
    visits = list(islice(order.visits(0), 12))
    assert [sorted(v.shard for v in visits[i : i + 4]) for i in (0, 4, 8)] == [[0, 1, 2, 3]] * 3
    assert [v.epoch for v in visits] == [0] * 4 + [1] * 4 + [2] * 4


def test_rows_can_be_read_anywhere(store: ActivationStore) -> None:
    whole = store.read(0, ROWS)
    for start, stop in ((0, 0), (5, 6), (500, 600), (511, 1537), (1600, ROWS)):
        assert torch.equal(store.read(start, stop), whole[start:stop])
    with pytest.raises(ValueError, match="1700 rows"):
        store.read(0, ROWS + 1)


def test_batches_are_fp32_and_never_change_under_the_consumer(store: ActivationStore) -> None:
    batches = taken(store, 60, batch_size=100, data_seed=1)
    copies = [batch.clone() for batch in batches]
    taken(store, 60, batch_size=100, data_seed=2)
    assert all(torch.equal(a, b) for a, b in zip(batches, copies, strict=True))
    assert batches[0].dtype == torch.float32


def test_waiting_is_counted(store: ActivationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.wait_seconds
    load = store.load
    # The reading thread starts before the consumer waits for it: only the rest of this is waited.
    monkeypatch.setattr(store, "load", lambda *a: (time.sleep(0.25), load(*a)))
    taken(store, 1, batch_size=100, data_seed=0)
    assert store.wait_seconds - before >= 0.1


def test_the_reading_thread_ends_with_the_consumer(store: ActivationStore) -> None:
    batches = store.batches(batch_size=64, data_seed=0)
    next(batches)
    assert any(thread.name == "read-ahead" for thread in threading.enumerate())
    batches.close()
    assert not any(thread.name == "read-ahead" for thread in threading.enumerate())


def test_a_damaged_shard_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    path = store.folder.shard(store.manifest.train, 2)
    data = bytearray(path.read_bytes())
    data[77] ^= 1
    path.write_bytes(data)
    batches = store.batches(batch_size=100, data_seed=0)
    for _ in range(10):
        next(batches)
    with pytest.raises(StoreError, match=r"shard 2 of train/resid_post\.0.*mend_command fake"):
        next(batches)
    with pytest.raises(StoreError, match=r"shard 2 of train/resid_post\.0"):
        store.verify()


@pytest.mark.parametrize(
    "which", ["train/resid_post.0/c/1/0", "origin/c/0", "mask/resid_post.0/c/3"]
)
def test_verify_finds_a_missing_file(tmp_path: Path, which: str) -> None:
    store = store_in(tmp_path)
    store.verify()
    (store.path / which).unlink()
    with pytest.raises(StoreError, match="missing"):
        store.verify()


def test_damaged_statistics_are_found(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    path = store.folder.statistics(SITES[0])
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(StoreError, match="does not match its checksum"):
        _ = store.statistics


def test_a_batch_of_masked_rows_only_is_an_error(tmp_path: Path) -> None:
    class Spoiled(FakeForward):
        def values(self, ids: torch.Tensor, site: object) -> torch.Tensor:
            x = super().values(ids, site)
            x[ids == 7] = float("nan")
            return x

    task = task_in(tmp_path, tokens=ROWS)
    fill(task, SITES[:1], Spoiled())
    store = opened(task, SITES[0])
    assert store.n_masked == 1
    assert store.epochs_for(2 * (ROWS - 1)) == 2
    with pytest.raises(StoreError, match="masked rows only"):
        taken(store, ROWS, batch_size=1, data_seed=0)


def workspace_with_store(root: Path) -> tuple[Workspace, Source, str]:
    workspace = Workspace.open(root)
    task = task_in(workspace.activations / "fake.trained" / "12345678", tokens=ROWS)
    fill(task, SITES[:1])
    return workspace, task.source(SITES[0]), "hash of resid_post.0"


def test_a_store_is_opened_by_its_source_and_hash(tmp_path: Path) -> None:
    workspace, source, found = workspace_with_store(tmp_path)
    store = ActivationStore.open(workspace, source, found)
    assert (store.n_rows, store.width, store.hash, store.dtype) == (ROWS, 8, found, "float16")
    with pytest.raises(
        StoreError, match=r"no complete activations of fake\.trained\.resid_post\.0"
    ):
        ActivationStore.open(workspace, source, "another hash")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    workspace, source, found = workspace_with_store(tmp_path)
    manifest = next(tmp_path.rglob("manifests/resid_post.0.json"))
    value = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(value | {"format": 2, "novelty": 1}))
    with pytest.raises(StoreError, match=r"format 2.*reads formats up to 1"):
        ActivationStore.open(workspace, source, found)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": null}'])
def test_an_unreadable_manifest_is_named(tmp_path: Path, text: str) -> None:
    workspace, source, found = workspace_with_store(tmp_path)
    next(tmp_path.rglob("manifests/resid_post.0.json")).write_text(text)
    with pytest.raises(StoreError, match=r"resid_post\.0\.json cannot be read"):
        ActivationStore.open(workspace, source, found)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_shuffled_epochs_of_every_storage_type_hold_the_stored_values(
    tmp_path: Path, dtype: str
) -> None:
    store = store_in(tmp_path, dtype=dtype)
    found = torch.cat(taken(store, 17, batch_size=100, data_seed=4))
    rows = store.read(0, ROWS)
    assert store.dtype == dtype
    assert torch.equal(torch.unique(found, dim=0), torch.unique(rows, dim=0))


def test_calibration_rows_that_are_masked_are_left_out(tmp_path: Path) -> None:
    class Spoiled(FakeForward):
        def values(self, ids: torch.Tensor, site: object) -> torch.Tensor:
            x = super().values(ids, site)
            x[ids == 1_000_007] = float("inf")
            return x

    task = task_in(tmp_path, tokens=ROWS)
    fill(task, SITES[:1], Spoiled())
    store = opened(task, SITES[0])
    blocks = torch.cat(list(store.calibration()))
    assert (store.manifest.calibration.n_nonfinite, len(blocks)) == (1, 199)
    assert torch.isfinite(blocks).all()
    assert store.statistics.n == 199
