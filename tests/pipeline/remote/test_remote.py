"""Activations and SAEs at a remote place: whole, equal to the local ones, checked when read."""

from __future__ import annotations

import json
import shutil
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch

from pipeline.catalog.warehouse import query, refresh
from pipeline.errors import RemoteError, StoreError
from pipeline.exchange.place import located
from pipeline.exchange.take_in import read_arrival, take_in
from pipeline.harvest.mend import mend
from pipeline.load_sae import load
from pipeline.progress import Progress, silent
from pipeline.remote.contents import contents
from pipeline.remote.finished import send_finished
from pipeline.remote.objects import Objects, objects_at
from pipeline.remote.place import remote_of
from pipeline.remote.sent import Sent, sent
from pipeline.remote.shards import cached_shards
from tests.pipeline.exchange.test_formats import openai_file
from tests.pipeline.remote.world import SHARD_BYTES, Machine, machine

ONE_SHARD = SHARD_BYTES * 1.5 / 1e9


@pytest.fixture
def first(tmp_path: Path, library: Path, url: str, made_before: Path) -> Machine:
    """The machine that made everything, and sent it when the place was named."""
    made = machine(shutil.copytree(made_before, tmp_path / "first"), library, url)
    assert made.harvest().reused
    assert made.train().reused
    return made


@pytest.fixture
def second(tmp_path: Path, library: Path, url: str, first: Machine) -> Machine:
    """Another one, with an empty workspace."""
    return machine(tmp_path / "second", library, url, cache_gb=ONE_SHARD)


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch, first: Machine) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the language model was loaded")

    monkeypatch.setattr("pipeline.language_model.load.load_language_model", refused)


def damage(url: str, key: str) -> None:
    """Flips a byte of an object."""
    objects = Objects(url)
    data = bytearray(objects.read(key) or b"")
    data[len(data) // 2] ^= 1
    if urlsplit(url).scheme == "file":
        Path(urlsplit(url).path, key).write_bytes(data)
    else:
        with objects._system.open_output_stream(objects._name(key)) as stream:
            stream.write(bytes(data))


def train_shard(url: str, number: int) -> str:
    return next(
        k for k in Objects(url).keys("activations") if f"/train/resid_post.0/c/{number}/" in k
    )


def batches(made: Machine) -> torch.Tensor:
    store = made.store()
    return torch.cat(list(islice(store.batches(batch_size=256, data_seed=3), 20)))


def test_what_is_made_lies_there_byte_for_byte(first: Machine, url: str) -> None:
    objects, root = Objects(url), first.workspace.root
    keys = objects.keys("")
    assert all(objects.read(key) == (root / key).read_bytes() for key in keys)
    passing = (".recorded.json", ".remote.json", "/remote.json")
    ours = [
        path.relative_to(root).as_posix()
        for folder in (first.workspace.activations, first.workspace.saes)
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert sorted(keys) == sorted(name for name in ours if not name.endswith(passing))
    assert len([key for key in keys if "/train/resid_post.0/c/" in key]) == 4


@pytest.mark.usefixtures("no_model")
def test_another_machine_finds_the_work_done(first: Machine, second: Machine) -> None:
    assert second.harvest().reused
    trained = second.train()
    assert trained.reused
    ours, theirs = (list_saes(one) for one in (first, second))
    assert len(ours) == 1
    assert ours == theirs
    curves = [
        query(one.workspace, "SELECT * EXCLUDE (run) FROM training_curve")
        for one in (first, second)
    ]
    assert curves[0].num_rows > 0
    assert curves[0].equals(curves[1])
    x = torch.randn(8, 128)
    here, there = load(trained.path), load(first.train().path)
    assert torch.equal(here.decode(here.encode(x)), there.decode(there.encode(x)))


def list_saes(made: Machine) -> list[dict[str, object]]:
    refresh(made.workspace)
    return query(made.workspace, "SELECT * EXCLUDE (run) FROM saes").to_pylist()


def test_shards_come_when_they_are_read_and_the_cache_is_bounded(
    first: Machine, second: Machine
) -> None:
    store, remote = second.store(), remote_of(second.workspace)
    assert remote is not None
    assert not list(cached_shards(remote))
    reading = store.batches(batch_size=256, data_seed=3)
    rows = []
    for _ in range(20):
        rows.append(next(reading).clone())
        # One of them stays, and one more is being read ahead.
        assert sum(p.stat().st_size for p in cached_shards(remote)) < 2 * SHARD_BYTES
    reading.close()
    assert torch.equal(torch.cat(rows), batches(first))


def test_a_damaged_object_is_told_and_mended_there_too(second: Machine, url: str) -> None:
    key = train_shard(url, 2)
    before = Objects(url).read(key)
    damage(url, key)
    with pytest.raises(StoreError, match=r"shard 2 of train/resid_post\.0 is damaged"):
        batches(second)
    mended = mend(second.workspace, "pylm", second.model, second.source)
    assert mended.damaged == ["shard 2 of train/resid_post.0"]
    assert Objects(url).read(key) == before


def test_a_shard_that_is_nowhere_is_told_and_mended(first: Machine, url: str) -> None:
    key = train_shard(url, 3)
    before = Objects(url).read(key)
    Objects(url)._delete(key)
    (first.workspace.root / key).unlink()
    with pytest.raises(StoreError, match=r"shard 3 of train/resid_post\.0 is damaged: the file is"):
        batches(first)
    mended = mend(first.workspace, "pylm", first.model, first.source)
    assert mended.damaged == ["shard 3 of train/resid_post.0"]
    assert Objects(url).read(key) == before


@pytest.mark.usefixtures("no_model")
def test_a_damaged_file_is_mended_from_the_remote_place(first: Machine) -> None:
    store = first.store()
    path = store.folder.shard(store.manifest.train, 1)
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert mend(first.workspace, "pylm", first.model, first.source).damaged == []
    assert path.read_bytes() == before


def test_a_damaged_sae_is_not_taken(second: Machine, url: str) -> None:
    key = next(k for k in Objects(url).keys("saes") if k.endswith("/sae.safetensors"))
    damage(url, key)
    second.harvest()
    with pytest.raises(RemoteError, match=r"sae\.safetensors is damaged"):
        second.train()
    assert not list(second.workspace.saes.rglob("done.json"))
    assert not list_saes(second)


@pytest.mark.long
@pytest.mark.usefixtures("no_model")
def test_bringing_that_was_interrupted_goes_on(
    second: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, left = Objects.get, [0]

    def dying(self: Objects, key: str, path: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        whole(self, key, path)

    monkeypatch.setattr(Objects, "get", dying)
    deaths = 0
    for left[0] in range(0, 15, 2):
        try:
            second.harvest()
            second.train()
        except KeyboardInterrupt:
            deaths += 1
    assert deaths >= 4
    monkeypatch.setattr(Objects, "get", whole)
    assert second.harvest().reused
    assert second.train().reused
    assert len(list_saes(second)) == 1


@pytest.mark.long
def test_what_is_made_with_a_place_named_is_sent_like_what_was_there_before(
    tmp_path: Path, library: Path, first: Machine, url: str
) -> None:
    (tmp_path / "other").mkdir()
    told: list[Progress] = []
    made = machine(tmp_path / "again", library, f"file://{tmp_path / 'other'}")
    assert not made.harvest(report=told.append).reused
    assert not made.train().reused
    assert Objects(f"file://{tmp_path / 'other'}").keys("") == Objects(url).keys("")
    sent = [(p.note.split()[0], p.done, p.total) for p in told if p.stage == "send"]
    assert ("train/resid_post.0", 4, 4) in sent
    assert first.store().hash == made.store().hash


def test_all_that_is_finished_is_sent_on_request(
    tmp_path: Path, library: Path, made_before: Path, url: str
) -> None:
    made = machine(shutil.copytree(made_before, tmp_path / "made"), library, url)
    remote = remote_of(made.workspace)
    assert remote is not None
    assert contents(remote).sources == contents(remote).saes == []
    assert sent(made.workspace) == Sent(url, sources_there=0, sources=1, saes_there=0, saes=1)
    send_finished(made.workspace, silent)
    assert sent(made.workspace) == Sent(url, sources_there=1, sources=1, saes_there=1, saes=1)
    held = contents(remote)
    assert held.sources == [str(made.source)]
    assert [sae.rpartition("/")[0] for sae in held.saes] == [f"{made.source}/topk.s0"]
    another = machine(tmp_path / "another", library, url)
    assert another.harvest().reused
    assert another.train().reused


def test_a_store_with_other_bytes_is_not_mixed_with_the_one_there(
    tmp_path: Path, library: Path, first: Machine, made_before: Path, url: str
) -> None:
    other = machine(shutil.copytree(made_before, tmp_path / "other"), library)
    (manifest,) = other.workspace.activations.rglob("resid_post.0.json")
    value = json.loads(manifest.read_text())
    value["train"]["shards"][0]["checksum"] = "0" * 64
    manifest.write_text(json.dumps(value))
    before = {key: Objects(url).read(key) for key in Objects(url).keys("")}
    again = machine(other.workspace.root, library, url)
    assert first.harvest().reused
    with pytest.raises(RemoteError, match="describes the same store with other bytes"):
        again.harvest()
    assert {key: Objects(url).read(key) for key in Objects(url).keys("")} == before


def test_a_sae_is_loaded_from_its_address(first: Machine, url: str) -> None:
    remote = remote_of(first.workspace)
    assert remote is not None
    held = contents(remote)
    assert held.sources == [str(first.source)]
    (sae,) = held.saes
    if url.startswith("s3://"):
        x = torch.randn(4, 128)
        ours, theirs = load(first.train().path), load(f"{url}/saes/{sae}")
        assert torch.equal(ours.encode(x).values, theirs.encode(x).values)
        with pytest.raises(RemoteError, match="holds no finished SAE"):
            load(f"{url}/saes/none")


def test_an_imported_sae_is_sent_too(first: Machine, tmp_path: Path) -> None:
    place = located(str(openai_file(tmp_path / "gpt", width=128, n_latents=64)))
    take_in(first.workspace, read_arrival(first.registry, place, first.source, name="gpt"))
    remote = remote_of(first.workspace)
    assert remote is not None
    assert [sae.split("/")[1] for sae in contents(remote).saes] == ["gpt.s0", "topk.s0"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="is no folder here"):
        objects_at(f"file://{tmp_path / 'none'}")
