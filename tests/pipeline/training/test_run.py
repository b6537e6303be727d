"""What training leaves behind, what it reuses, and what it says when something is wrong."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from pipeline import atomic
from pipeline.catalog.warehouse import query
from pipeline.errors import CheckpointError, DiskFullError, UserError, WorkspaceError
from pipeline.load_sae import load
from pipeline.locks import cell_lock
from pipeline.progress import Progress
from pipeline.training import finish
from pipeline.training.checkpoint import read_checkpoint
from pipeline.training.dead import dead_when_training_ended
from pipeline.training.group import CheckpointInterval
from pipeline.training.identity import identify
from pipeline.training.record import CHECKPOINT_FILE, CONFIG_FILE, DONE_FILE, read_done
from pipeline.training.run import train_cells, training_state
from pipeline.workspace import Workspace
from tests.pipeline.training.scene import BATCH, LATENTS, STEPS, WIDTH, ToyStore, cell

ALWAYS = CheckpointInterval(seconds=0.0, cost_factor=0.0)


def test_a_trained_sae_is_a_folder_a_row_and_a_curve(workspace: Workspace, store: ToyStore) -> None:
    wanted = cell()
    (result,) = train_cells(workspace, [wanted])
    row = query(workspace, "SELECT * FROM saes").to_pylist()[0]
    assert (row["sae"], row["sae_hash"]) == (result.sae, result.sae_hash)
    assert (row["tokens"], row["width"], row["n_latents"]) == (STEPS * BATCH, WIDTH, LATENTS)
    assert (row["status"], row["weights"], row["weights_seed"]) == ("ok", "trained", None)
    assert row["epochs"] == result.epochs == STEPS * BATCH / store.n_rows
    assert 0 <= row["wait_share"] <= 1
    assert workspace.root / row["path"] == result.path
    curve = query(workspace, "SELECT * FROM training_curve").to_pylist()
    wanted = {"fvu", "l0", "loss", "dead_share", "lr", "gradient_norm", "wait_share"}
    assert {r["metric"] for r in curve} >= wanted | {"reconstruction", "tokens_per_second"}
    assert all(r["value"] > 0 for r in curve if r["metric"] == "tokens_per_second")
    assert len(curve) == len(result.curve)
    assert json.loads((result.path / CONFIG_FILE).read_text())["sae_hash"] == result.sae_hash


def test_training_learns(workspace: Workspace, store: ToyStore) -> None:
    (result,) = train_cells(workspace, [cell(steps=300)])
    fvu = [row.value for row in result.curve if row.metric == "fvu"]
    assert fvu[-1] < 0.5 * fvu[0]
    x = next(store.calibration())
    sae = load(result.path)
    assert (x - sae(x)).square().sum() < 0.5 * (x - x.mean(0)).square().sum()


def test_what_is_there_is_reused_without_reading(workspace: Workspace, store: ToyStore) -> None:
    (first,) = train_cells(workspace, [cell()])
    store.opened.clear()
    (again,) = train_cells(workspace, [cell()])
    assert (first.reused, again.reused, store.opened) == (False, True, [])
    assert str(again.curve) == str(first.curve)
    assert again.final.keys() == first.final.keys()
    mixed = train_cells(workspace, [cell(), cell(seed=1)])
    assert [result.reused for result in mixed] == [True, False]


def test_other_activations_or_seeds_are_another_sae(
    workspace: Workspace, store: ToyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = {identify(workspace, c).sae_hash for c in (cell(), cell(seed=1), cell(lr=1e-3))}
    monkeypatch.setattr("pipeline.harvest.run.source_hash", lambda *arguments: "f" * 64)
    hashes.add(identify(workspace, cell()).sae_hash)
    assert len(hashes) == 4


def test_twins_of_one_seed_do_not_start_from_the_same_directions(
    workspace: Workspace, store: ToyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the MMCS of trained against random would measure the start that they share."""
    still = cell(steps=1, lr=1e-9)
    one = load(train_cells(workspace, [still])[0].path)
    monkeypatch.setattr("pipeline.harvest.run.source_hash", lambda *arguments: "f" * 64)
    twin = load(train_cells(workspace, [still])[0].path)
    cosines = (one.dictionary() * twin.dictionary()).sum(1)
    assert cosines.abs().mean() < 0.5


def test_states_tell_where_a_run_stands(workspace: Workspace, store: ToyStore) -> None:
    assert training_state(workspace, cell()) == "missing"
    train_cells(workspace, [cell()])
    assert training_state(workspace, cell()) == "done"
    (identify(workspace, cell()).folder / DONE_FILE).unlink()
    assert training_state(workspace, cell()) == "partial"


def test_a_run_killed_after_its_rows_is_finished_without_training(
    workspace: Workspace, store: ToyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(finish, "write_done", lambda *arguments: (_ for _ in ()).throw(OSError()))
        with pytest.raises(OSError):
            train_cells(workspace, [cell("batch_topk")])
    assert training_state(workspace, cell("batch_topk")) == "partial"
    store.opened.clear()
    (result,) = train_cells(workspace, [cell("batch_topk")])
    assert store.opened == []
    assert query(workspace, "SELECT count(*) AS n FROM saes").to_pylist() == [{"n": 1}]
    n_rows = query(workspace, "SELECT count(*) AS n FROM training_curve").to_pylist()[0]["n"]
    assert n_rows == len(result.curve)


def test_a_diverged_sae_is_told_and_the_others_go_on(
    workspace: Workspace, store: ToyStore, tmp_path: Path
) -> None:
    wild = cell("relu", lr=1e30, warmup_share=0.5)
    calm = cell("topk")
    results = train_cells(workspace, [wild, calm], interval=ALWAYS)
    assert [result.status for result in results] == ["diverged", "ok"]
    assert training_state(workspace, wild) == "diverged"
    done = read_done(results[0].path, results[0].sae_hash)
    assert done is not None
    assert done.diverged_at is not None
    assert done.last_good_step is None or done.last_good_step <= done.diverged_at
    assert done.diverged_in in {"reconstruction", "l1", "loss", "gradient_norm"}
    assert f"step {done.diverged_at} ({done.diverged_in} was the first" in done.divergence
    with pytest.raises(CheckpointError, match="diverged"):
        load(results[0].path)
    rows = query(workspace, "SELECT recipe, status FROM saes ORDER BY recipe").to_pylist()
    assert [row["status"] for row in rows] == ["diverged", "ok"]
    (alone,) = train_cells(Workspace.open(tmp_path / "alone"), [calm])
    assert (alone.path / "sae.safetensors").read_bytes() == (
        results[1].path / "sae.safetensors"
    ).read_bytes()


def test_the_last_good_checkpoint_of_a_diverged_sae_is_named_and_there(
    workspace: Workspace, store: ToyStore
) -> None:
    store.bad_from = 13
    (result,) = train_cells(workspace, [cell("topk")], interval=ALWAYS)
    done = read_done(result.path, result.sae_hash)
    assert done is not None
    assert (done.diverged_at, done.last_good_step) == (13, 13)
    assert "its last good checkpoint is of step 13" in done.divergence
    assert result.divergence == done.divergence
    (row,) = query(workspace, "SELECT status, divergence FROM saes").to_pylist()
    assert row == {"status": "diverged", "divergence": done.divergence}
    kept = read_checkpoint(result.path, result.sae_hash)
    assert kept is not None
    assert kept.standing.step == 13
    assert all(tensor.isfinite().all() for tensor in kept.state.values())
    assert kept.curve.rows[-1].step == 13


def test_a_truncated_checkpoint_never_starts_over_silently(
    workspace: Workspace, store: ToyStore
) -> None:
    def die(number: int) -> None:
        if number == 5:
            raise KeyboardInterrupt

    store._on_batch = die
    with pytest.raises(KeyboardInterrupt):
        train_cells(workspace, [cell()], interval=ALWAYS)
    store._on_batch = lambda number: None
    path = identify(workspace, cell()).folder / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="delete the folder"):
        train_cells(workspace, [cell()])


def test_a_full_disk_loses_nothing(
    workspace: Workspace, store: ToyStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written = iter(range(100))
    reserve = atomic._reserve

    def full(path: Path, n_bytes: int) -> None:
        if path.name == CHECKPOINT_FILE and next(written) >= 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(path, n_bytes)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_reserve", full)
        with pytest.raises(DiskFullError, match="No space left"):
            train_cells(workspace, [cell()], interval=ALWAYS)
    assert training_state(workspace, cell()) == "partial"
    assert query(workspace, "SELECT * FROM saes").num_rows == 0
    (result,) = train_cells(workspace, [cell()])
    assert store.opened[-1] == 3
    (whole,) = train_cells(Workspace.open(tmp_path / "whole"), [cell()])
    for name in ("sae.safetensors",):
        assert (result.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_the_same_partition_twice_at_once_is_an_error(
    workspace: Workspace, store: ToyStore
) -> None:
    with (
        cell_lock(workspace, f"training {cell().sae_id}"),
        pytest.raises(WorkspaceError, match="already being made"),
    ):
        train_cells(workspace, [cell()])
    assert store.opened == []


def test_leftovers_of_killed_writers_are_swept(workspace: Workspace, store: ToyStore) -> None:
    folder = identify(workspace, cell()).folder
    folder.mkdir(parents=True)
    leftover = folder / f"{CHECKPOINT_FILE}.partial-4194305-deadbeef"
    leftover.write_bytes(b"half")
    train_cells(workspace, [cell()])
    assert not leftover.exists()


def test_batch_topk_is_calibrated_on_the_calibration_split(
    workspace: Workspace, store: ToyStore
) -> None:
    (result,) = train_cells(workspace, [cell("batch_topk", steps=100)])
    code = load(result.path).encode(next(store.calibration()))
    assert code.fired.sum(1).double().mean() == pytest.approx(4, abs=0.05)


def test_directions_may_start_as_data(workspace: Workspace, store: ToyStore) -> None:
    (result,) = train_cells(workspace, [cell(dictionary_init="data")])
    assert result.status == "ok"


def test_what_cannot_be_trained_says_which_sae(
    workspace: Workspace, store: ToyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyStore, "calibration", lambda self, max_rows: iter([torch.zeros(3, 16)]))
    with pytest.raises(UserError, match=r"toy\.trained.*3 rows"):
        train_cells(workspace, [cell(dictionary_init="data")])


def test_progress_ends_at_its_total(workspace: Workspace, store: ToyStore) -> None:
    told: list[Progress] = []
    train_cells(workspace, [cell(), cell("relu", steps=12)], report=told.append)
    assert told[-1].done == told[-1].total == (STEPS + 12) * BATCH
    assert "2 SAEs" in told[-1].note
    assert "mean FVU" in told[-1].note


def test_dead_latents_are_those_of_the_last_counters(workspace: Workspace, store: ToyStore) -> None:
    wanted = cell(steps=60)
    (result,) = train_cells(workspace, [wanted])
    dead = dead_when_training_ended(
        result.path, result.sae_hash, dead_window=wanted.recipe.dead_window
    )
    assert dead.shape == (LATENTS,)
    assert dead.mean() == pytest.approx(result.final["dead_train"])


def test_cells_of_two_sources_do_not_train_together(workspace: Workspace, store: ToyStore) -> None:
    with pytest.raises(ValueError, match="one source"):
        train_cells(workspace, [])


def test_the_saved_sae_is_the_averaged_one(workspace: Workspace, store: ToyStore) -> None:
    wanted = cell("batch_topk", ema_share=0.3)
    (result,) = train_cells(workspace, [wanted])
    checkpoint = read_checkpoint(result.path, result.sae_hash)
    assert checkpoint is not None
    state, sae = checkpoint.state, load(result.path)
    mean = state["ema.W_enc"] / state["ema.weight"]
    torch.testing.assert_close(sae.W_enc.detach(), mean)
    assert not torch.allclose(sae.W_enc, state["sae.W_enc"])
    torch.testing.assert_close(sae.W_dec.detach().norm(dim=1), torch.ones(LATENTS))
    code = sae.encode(next(store.calibration()))
    assert code.fired.sum(1).double().mean() == pytest.approx(4, abs=0.05)


def test_a_calibrated_start_takes_its_rows_from_the_calibration_split(
    workspace: Workspace, store: ToyStore
) -> None:
    (result,) = train_cells(workspace, [cell(encoder_scale="calibrated")])
    assert result.status == "ok"
