"""Harvesting the embedded model into a workspace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.catalog.warehouse import query
from pipeline.corpus.pack import open_corpus
from pipeline.corpus.shuffled import text_as_read
from pipeline.errors import SiteError, StoreError, StudyError
from pipeline.harvest.fill import fill_store
from pipeline.harvest.mend_command import main as mend_command
from pipeline.harvest.run import HarvestResult, harvest, harvest_state, source_hash
from pipeline.language_model.capture import capture
from pipeline.language_model.load import load_language_model
from pipeline.store.activation_store import ActivationStore
from pipeline.study.config import ModelConfig
from pipeline.study.names import Site, Source, Weights
from pipeline.workspace import Workspace
from tests.pipeline.harvest.fake_model import Reports

TRAINED = Weights("trained")
SITES = [Site("resid_post", 1), Site("mlp_out", 0)]
WORDS = ["def", "return", "class", "import", "value", "self", "for", "in", "range", "print"]


def texts(folder: Path) -> Path:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(30):
        words = generator.choice(WORDS, 300)
        (folder / f"{number}.txt").write_text(" ".join(words) + f"\n# {number}\n")
    return folder


def model(folder: Path, **changes: Any) -> ModelConfig:
    settings = {"tokens": 3000, "calibration_tokens": 300, "shard_rows": 1024} | changes
    corpus = {"kind": "text", "path": str(folder / "texts")}
    shares = {"held_out_share": 0.2, "calibration_share": 0.2}
    return ModelConfig(
        device="cpu", context=64, batch_rows=8, corpus=corpus | shares, harvest=settings
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Path]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("world")
    texts(folder / "texts")
    yield Workspace.open(folder / "workspace"), folder
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def made(world: tuple[Workspace, Path]) -> list[HarvestResult]:
    workspace, folder = world
    config = model(folder)
    assert harvest_state(workspace, "pylm", config, Source("pylm", TRAINED, SITES[0])) == "missing"
    return harvest(workspace, "pylm", config, TRAINED, SITES)


def test_rows_are_the_models_own_activations(
    world: tuple[Workspace, Path], made: list[HarvestResult]
) -> None:
    workspace, folder = world
    corpus = open_corpus(workspace, "pylm", model(folder))
    lm = load_language_model(model(folder), TRAINED)
    tokens = corpus.tokens("train", 0, 8)[0]
    activations = capture(lm, torch.from_numpy(tokens.astype(np.int64)), SITES)
    for result in made:
        store = ActivationStore.open(workspace, result.source, result.source_hash)
        origin = store.origin(0, store.n_rows)
        assert store.n_rows == 3000
        assert not np.isin(tokens.ravel()[origin[origin < 512]], list(corpus.special_ids)).any()
        given = activations[result.source.site].flatten(0, 1).float()
        found = store.read(0, store.n_rows)[torch.from_numpy(origin < 512)]
        expected = given[torch.from_numpy(origin[origin < 512])].half().float()
        assert torch.equal(found, expected)


def test_results_say_what_was_stored(
    world: tuple[Workspace, Path], made: list[HarvestResult]
) -> None:
    calibration = open_corpus(world[0], "pylm", model(world[1])).n_tokens("calibration")
    for result, site in zip(made, SITES, strict=True):
        assert result.source == Source("pylm", TRAINED, site)
        assert not result.reused
        assert (result.n_rows, result.n_nonfinite, result.statistics.n) == (
            3000,
            0,
            min(300, calibration),
        )
        assert result.bytes >= 3000 * result.statistics.width * 2
        assert result.tokens_per_second > 0
        assert all(statistic.passed for statistic in result.shuffle_quality)
        assert {s.statistic for s in result.shuffle_quality} >= {"block_by_shard", "wrong_rows"}


def test_what_is_there_is_reused_and_recorded_once(
    world: tuple[Workspace, Path], made: list[HarvestResult]
) -> None:
    workspace, folder = world
    again = harvest(workspace, "pylm", model(folder), TRAINED, SITES)
    assert [result.reused for result in again] == [True, True]
    assert [r.source_hash for r in again] == [r.source_hash for r in made]
    rows = query(workspace, "select source, n_rows, dtype, shuffle from sources").to_pylist()
    assert sorted(row["source"] for row in rows) == sorted(str(r.source) for r in made)
    assert {row["n_rows"] for row in rows} == {3000}
    count = query(workspace, "select count(*) c from shuffle_quality where passed").to_pylist()
    assert count[0]["c"] == 2 * len(made[0].shuffle_quality)


def test_states_and_hashes_follow_what_changes_rows(
    world: tuple[Workspace, Path], made: list[HarvestResult]
) -> None:
    workspace, folder = world
    source, config = made[0].source, model(folder)
    first = source_hash(workspace, "pylm", config, source)
    assert first == made[0].source_hash
    assert harvest_state(workspace, "pylm", config, source) == "done"
    same = [model(folder, memory_mb=77), model(folder, max_masked_share=0.5)]
    same.append(config.model_copy(update={"batch_rows": 3}))
    for other in same:
        assert source_hash(workspace, "pylm", other, source) == first
    changed = [
        model(folder, shuffle_seed=1),
        model(folder, tokens=2999),
        model(folder, dtype="float32"),
    ]
    changed.append(config.model_copy(update={"dtype": "bfloat16"}))
    for other in changed:
        assert source_hash(workspace, "pylm", other, source) != first
        assert harvest_state(workspace, "pylm", other, source) == "missing"
    random = Source("pylm", Weights("random", 0), source.site)
    assert source_hash(workspace, "pylm", config, random) != first


def test_a_variant_and_a_later_site_hold_the_same_tokens(
    world: tuple[Workspace, Path], made: list[HarvestResult]
) -> None:
    workspace, folder = world
    site = Site("attn_out", 0)
    later = harvest(workspace, "pylm", model(folder), TRAINED, [site])
    random = harvest(workspace, "pylm", model(folder), Weights("random", 1), [site])
    origins = [
        ActivationStore.open(workspace, r.source, r.source_hash).origin(0, 3000)
        for r in (*made, *later, *random)
    ]
    assert all(np.array_equal(origin, origins[0]) for origin in origins)
    assert later[0].store_path == made[0].store_path != random[0].store_path


def test_an_interrupted_harvest_is_partial(
    world: tuple[Workspace, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, folder = world
    config, site = model(folder, shuffle_seed=7), SITES[0]
    source = Source("pylm", TRAINED, site)

    def interrupt(progress: Any) -> None:
        if progress.stage == "harvest" and progress.done > 1500:
            raise KeyboardInterrupt

    monkeypatch.setitem(fill_store.__kwdefaults__, "part_seconds", 0.0)
    with pytest.raises(KeyboardInterrupt):
        harvest(workspace, "pylm", config, TRAINED, [site], report=interrupt)
    assert harvest_state(workspace, "pylm", config, source) == "partial"
    reports = Reports()
    harvest(workspace, "pylm", config, TRAINED, [site], report=reports)
    assert harvest_state(workspace, "pylm", config, source) == "done"
    assert min(p.done for p in reports.all if p.stage == "harvest") > 1000


def test_unknown_sites_and_too_many_tokens_are_refused(world: tuple[Workspace, Path]) -> None:
    workspace, folder = world
    with pytest.raises(SiteError, match="resid_post"):
        harvest(workspace, "pylm", model(folder), TRAINED, [Site("resid_post", 99)])
    with pytest.raises(StudyError, match=r"90,000,000 tokens are asked for"):
        harvest(workspace, "pylm", model(folder, tokens=90_000_000), TRAINED, SITES)


def test_too_many_masked_rows_are_an_error_until_they_are_allowed(
    world: tuple[Workspace, Path],
) -> None:
    workspace, folder = world
    strict = model(folder, high_norm_factor=1.0001, max_masked_share=0.01)
    source = Source("pylm", TRAINED, SITES[0])
    with pytest.raises(StoreError, match=r"of high norm\).*raise harvest.high_norm_factor"):
        harvest(workspace, "pylm", strict, TRAINED, SITES[:1])
    assert harvest_state(workspace, "pylm", strict, source) != "done"
    allowed = model(folder, high_norm_factor=1.0001, max_masked_share=0.9)
    (result,) = harvest(workspace, "pylm", allowed, TRAINED, SITES[:1])
    assert result.n_high_norm > 300
    assert harvest_state(workspace, "pylm", allowed, source) == "done"
    assert harvest_state(workspace, "pylm", strict, source) == "partial"
    with pytest.raises(StoreError, match="of the train split are masked"):
        harvest(workspace, "pylm", strict, TRAINED, SITES[:1])


def test_a_corpus_that_is_not_packed_has_no_hash(tmp_path: Path) -> None:
    texts(tmp_path / "texts")
    workspace, config = Workspace.open(tmp_path / "workspace"), model(tmp_path)
    with pytest.raises(StoreError, match="not packed yet"):
        source_hash(workspace, "pylm", config, Source("pylm", TRAINED, SITES[0]))


def test_the_mend_command_says_what_is_damaged_and_mends_it(
    world: tuple[Workspace, Path],
    made: list[HarvestResult],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace, folder = world
    source = made[0].source
    path = made[0].store_path / "train" / str(source.site) / "c" / "1" / "0"
    sound = path.read_bytes()
    path.write_bytes(sound[:-40])
    monkeypatch.setattr("pipeline.harvest.mend_command.model_config", lambda *_: model(folder))
    arguments = [str(source), "--workspace", str(workspace.root)]
    assert mend_command([*arguments, "--dry-run"]) == 0
    assert f"shard 1 of train/{source.site}" in capsys.readouterr().out
    assert path.read_bytes() != sound
    assert mend_command(arguments) == 0
    assert "mended 1 shard" in capsys.readouterr().out
    assert path.read_bytes() == sound
    assert mend_command(["nonsense", "--workspace", str(workspace.root)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_states_and_hashes_come_without_torch() -> None:
    code = (
        "import sys, pipeline.harvest.run, pipeline.store.manifest, pipeline.store.layout;"
        "heavy = {'torch', 'zarr', 'transformers', 'pyarrow', 'duckdb'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["shuffled_text@1", "gaussian@1"])
def test_variants_that_change_no_weights_have_the_same_rows_and_other_activations(
    world: tuple[Workspace, Path], made: list[HarvestResult], name: str
) -> None:
    workspace, folder = world
    config, weights = model(folder), Weights.parse(name)
    (result,) = harvest(workspace, "pylm", config, weights, SITES[:1])
    trained = ActivationStore.open(workspace, made[0].source, made[0].source_hash)
    store = ActivationStore.open(workspace, result.source, result.source_hash)
    origin = store.origin(0, store.n_rows)
    assert np.array_equal(origin, trained.origin(0, trained.n_rows))
    found = store.read(0, store.n_rows)
    assert not torch.equal(found, trained.read(0, trained.n_rows))
    if weights.variant == "gaussian":
        spread = (trained.statistics.total_variance / len(found)) ** 0.5
        apart = found.double().mean(0) - trained.statistics.mean
        assert float(apart.norm()) < 5 * spread
        return
    corpus = open_corpus(workspace, "pylm", config)
    lm = load_language_model(config, TRAINED)
    tokens = text_as_read(corpus, weights).tokens("train", 0, 8)[0]
    assert not np.array_equal(tokens, corpus.tokens("train", 0, 8)[0])
    ids = torch.from_numpy(tokens.astype(np.int64))
    given = capture(lm, ids, SITES[:1])[SITES[0]].flatten(0, 1).float()
    here = torch.from_numpy(origin < 512)
    assert torch.equal(found[here], given[torch.from_numpy(origin[origin < 512])].half().float())
