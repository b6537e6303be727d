"""Training by torchrun: two processes make what one makes, also when one of them is killed."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from pipeline.errors import StoreError, StudyError
from pipeline.launch.config import LaunchConfig
from pipeline.launch.torchrun import LaunchError
from pipeline.study.registry import Cell
from pipeline.training import on_ranks
from pipeline.training.checkpoint import read_checkpoint, state_digest
from pipeline.training.group import CheckpointInterval, TrainingStopped
from pipeline.training.identity import identify
from pipeline.training.record import SAE_FILE, read_done
from pipeline.training.run import train_cells
from pipeline.workspace import Workspace
from sae_core.architectures import config_class, names
from tests.pipeline.training import ranked_toy
from tests.pipeline.training.scene import ToyStore, cell, install, workspace_at

# Adam divides gradients by their own size, so that a difference of 1e-7 in a gradient that is
# nearly 0 can move a weight by a share of lr; this is 30 steps at 3e-3.
TOLERANCE = 2e-4
EVERY_STEP = CheckpointInterval(seconds=0.0, cost_factor=0.0)
TWO = LaunchConfig(engine="torchrun", ranks=2)
SHARDS = LaunchConfig(engine="torchrun", ranks=2, split="latents")


@pytest.fixture(autouse=True)
def _toy_ranks(monkeypatch: pytest.MonkeyPatch, store: ToyStore) -> None:
    monkeypatch.setattr(on_ranks, "MODULE", ranked_toy.__name__)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def state_of(workspace: Workspace, one: Cell) -> dict[str, torch.Tensor]:
    run = identify(workspace, one)
    checkpoint = read_checkpoint(run.folder, run.sae_hash)
    assert checkpoint is not None
    return checkpoint.state


def bits(workspace: Workspace, one: Cell) -> tuple[str, bytes]:
    folder = identify(workspace, one).folder
    return state_digest(state_of(workspace, one)), (folder / SAE_FILE).read_bytes()


def ways(workspace: Workspace, one: Cell) -> tuple[str, ...]:
    run = identify(workspace, one)
    done = read_done(run.folder, run.sae_hash)
    assert done is not None
    return done.ways


def assert_same(ours: dict[str, torch.Tensor], judge: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == judge.keys()
    for name, tensor in judge.items():
        # Moments are of the size of gradients and their squares; weights of the size of 1.
        atol = TOLERANCE * max(1.0, float(tensor.nan_to_num().abs().max()))
        torch.testing.assert_close(
            ours[name], tensor, rtol=0, atol=atol, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )


def dying(monkeypatch: pytest.MonkeyPatch, folder: Path, *, rank: int, batch: int) -> Path:
    flag = folder / f"killed-{rank}-{batch}"
    monkeypatch.setenv(ranked_toy.KILL, f"{rank}:{batch}:{flag}")
    return flag


def test_two_ranks_of_which_one_is_killed_train_what_one_process_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [cell("topk"), cell("batch_topk", seed=1)]
    here, there = workspace_at(tmp_path / "here"), workspace_at(tmp_path / "there")
    local = train_cells(here, cells)
    flag = dying(monkeypatch, tmp_path, rank=1, batch=17)
    told = []
    ranked = train_cells(
        there, cells, launch=TWO, interval=EVERY_STEP, report=lambda p: told.append(p.stage)
    )
    assert flag.exists()
    assert "training" in told
    for one, ours, judge in zip(cells, ranked, local, strict=True):
        assert (ours.sae_hash, ours.status) == (judge.sae_hash, "ok")
        assert [(r.step, r.metric) for r in ours.curve] == [(r.step, r.metric) for r in judge.curve]
        assert_same(state_of(there, one), state_of(here, one))
        assert ways(there, one) == ("2 ranks by tokens",)
        assert ways(here, one) == ("1 process",)


@pytest.mark.long
@pytest.mark.parametrize("launch", [TWO, SHARDS], ids=lambda launch: launch.split)
def test_a_killed_ranks_run_has_the_bits_of_the_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launch: LaunchConfig
) -> None:
    fields = {} if launch.split == "latents" else {"resample_at": (0.4, 0.7)}
    cells = [cell(name, ema_share=0.5, **fields) for name in ("topk", "batch_topk")]
    whole, killed = workspace_at(tmp_path / "whole"), workspace_at(tmp_path / "killed")
    train_cells(whole, cells, launch=launch, interval=EVERY_STEP)
    for rank, batch in ((0, 11), (1, 22)):
        flag = dying(monkeypatch, tmp_path, rank=rank, batch=batch)
        once = launch.model_copy(update={"max_restarts": 0 if rank == 0 else 1})
        if rank == 0:
            with pytest.raises(LaunchError, match="failed and were started again 0 times"):
                train_cells(killed, cells, launch=once, interval=EVERY_STEP)
        else:
            train_cells(killed, cells, launch=once, interval=EVERY_STEP)
        assert flag.exists()
    for one in cells:
        assert bits(killed, one) == bits(whole, one)


@pytest.mark.long
@pytest.mark.parametrize(
    ("launch", "ranks_first"), [(TWO, True), (SHARDS, False)], ids=["tokens", "latents"]
)
def test_a_run_goes_on_with_another_number_of_processes(
    tmp_path: Path, launch: LaunchConfig, ranks_first: bool
) -> None:
    one, judge = cell("batch_topk", steps=200), workspace_at(tmp_path / "judge")
    train_cells(judge, [one])
    workspace = workspace_at(tmp_path / "moved")
    first, second = (launch, LaunchConfig()) if ranks_first else (LaunchConfig(), launch)
    asked = iter([False] * 3)
    with pytest.raises(TrainingStopped, match="continues from there"):
        train_cells(workspace, [one], launch=first, stop=lambda: not next(asked, False) or True)
    train_cells(workspace, [one], launch=second)
    expected = ("2 ranks by " + launch.split, "1 process")
    assert ways(workspace, one) == (expected if ranks_first else expected[::-1])
    step = identify(workspace, one)
    done = read_done(step.folder, step.sae_hash)
    assert done is not None
    assert done.step == 200
    fvu = [
        float(read_done(i.folder, i.sae_hash).final["fvu"]) for i in (step, identify(judge, one))
    ]
    assert fvu[0] == pytest.approx(fvu[1], rel=0.02)


@pytest.mark.long
def test_every_architecture_that_can_be_divided_trains_on_two_processes(tmp_path: Path) -> None:
    divisible = [name for name in names() if not cell(name).recipe.one_rank_only]
    divisible = [name for name in divisible if config_class(name).inputs == "source"]
    cells = [cell(name) for name in divisible]
    here, there = workspace_at(tmp_path / "here"), workspace_at(tmp_path / "there")
    train_cells(here, cells)
    train_cells(there, cells, launch=TWO)
    for one in cells:
        assert_same(state_of(there, one), state_of(here, one))


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that work for a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode())
    return [line for line in found if str(folder) in line]


def _train_long(folder: Path) -> None:
    install(setattr, ToyStore())
    on_ranks.MODULE = ranked_toy.__name__
    train_cells(workspace_at(folder), [cell("topk", steps=40_000)], launch=TWO)


@pytest.mark.long
def test_ranks_whose_command_has_died_save_and_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    # Reports come every 200 steps of so long a run.
    command = multiprocessing.get_context("spawn").Process(target=_train_long, args=(tmp_path,))
    command.start()
    assert _becomes(lambda: bool(list(tmp_path.glob("sae-ranks-*/progress"))))
    command.kill()
    command.join()
    assert len(processes_of(tmp_path)) >= 3
    assert _becomes(lambda: not processes_of(tmp_path))
    run = identify(workspace_at(tmp_path), cell("topk", steps=40_000))
    checkpoint = read_checkpoint(run.folder, run.sae_hash)
    assert checkpoint is not None
    assert checkpoint.standing.step % 200 == 0


def _becomes(holds: Callable[[], bool], *, seconds: float = 240) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.2)
    return False


@pytest.mark.long
def test_a_ranks_error_is_told_as_it_is_and_not_tried_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ranked_toy.REFUSE, "3")
    with pytest.raises(StoreError, match=r"batch 3 is damaged\. Harvest it again"):
        train_cells(workspace, [cell("topk")], launch=TWO)


def test_what_cannot_be_divided_is_refused_before_anything_starts(workspace: Workspace) -> None:
    targeted = cell("jumprelu", penalty="target_l0", target_l0=4.0)
    with pytest.raises(StudyError, match=r"Recipe 'jumprelu-30'.*target_l0.*--launch local"):
        train_cells(workspace, [targeted], launch=TWO)
    with pytest.raises(StudyError, match=r"latents are divided.*batch_topk, topk alone"):
        train_cells(workspace, [cell("relu")], launch=SHARDS)


def test_where_it_was_trained_is_no_part_of_its_identity(workspace: Workspace) -> None:
    from dataclasses import replace

    one = cell("topk")
    other = replace(one, launch=TWO)
    assert other == one
    assert identify(workspace, other).sae_hash == identify(workspace, one).sae_hash


def test_records_of_older_versions_are_read(workspace: Workspace) -> None:
    one = cell("topk")
    train_cells(workspace, [one])
    run = identify(workspace, one)
    path = run.folder / "done.json"
    fields = json.loads(path.read_text())
    del fields["ways"]
    path.write_text(json.dumps(fields))
    done = read_done(run.folder, run.sae_hash)
    assert done is not None
    assert done.ways == ()
