"""A run that is interrupted anywhere and continued ends in the same bits as one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.catalog.warehouse import query
from pipeline.study.registry import Cell
from pipeline.training import finish
from pipeline.training.checkpoint import read_checkpoint, state_digest
from pipeline.training.group import CheckpointInterval, TrainingStopped
from pipeline.training.identity import identify
from pipeline.training.record import SAE_FILE
from pipeline.training.run import train_cells, training_state
from pipeline.workspace import Workspace
from tests.pipeline.training.scene import ARCHITECTURES, STEPS, ToyStore, cell, workspace_at

ALWAYS = CheckpointInterval(seconds=0.0, cost_factor=0.0)
NEVER = CheckpointInterval(seconds=1e9)


class Killed(Exception):
    """Stands for the end of the process."""


def bits(workspace: Workspace, wanted: Cell) -> tuple[str, bytes]:
    """Optimiser state and weights of a finished SAE."""
    run = identify(workspace, wanted)
    checkpoint = read_checkpoint(run.folder, run.sae_hash)
    assert checkpoint is not None
    return state_digest(checkpoint.state), (run.folder / SAE_FILE).read_bytes()


def curve_of(results: list) -> list:
    """The curve without what depends on the clock."""
    timed = {"wait_share", "tokens_per_second"}
    return [row for result in results for row in result.curve if row.metric not in timed]


def interrupted(workspace: Workspace, cells: list[Cell], store: ToyStore, at: int) -> None:
    """Trains until batch number `at` is asked for, then dies."""

    def die(number: int) -> None:
        if number == at:
            raise Killed

    store._on_batch = die
    with pytest.raises(Killed):
        train_cells(workspace, cells, interval=CheckpointInterval(tokens=192, cost_factor=0.0))
    store._on_batch = lambda number: None


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_interrupted_run_ends_in_the_same_bits(
    tmp_path: Path, store: ToyStore, architecture: str
) -> None:
    wanted = cell(architecture)
    whole, broken = workspace_at(tmp_path / "whole"), workspace_at(tmp_path / "broken")
    expected = train_cells(whole, [wanted], interval=NEVER)
    for at in (1, 4, 5, 13, STEPS - 1):
        interrupted(broken, [wanted], store, at)
        assert training_state(broken, wanted) == ("missing" if at == 1 else "partial")
    found = train_cells(broken, [wanted], interval=ALWAYS)
    assert bits(broken, wanted) == bits(whole, wanted)
    assert str(curve_of(found)) == str(curve_of(expected))


def test_a_stopped_run_is_checkpointed_and_continues(tmp_path: Path, store: ToyStore) -> None:
    cells = [cell("topk"), cell("batch_topk")]
    whole, broken = workspace_at(tmp_path / "whole"), workspace_at(tmp_path / "broken")
    train_cells(whole, cells)
    asked = iter(range(100))
    with pytest.raises(TrainingStopped, match="continues"):
        train_cells(broken, cells, stop=lambda: next(asked) == 11, interval=NEVER)
    assert [training_state(broken, c) for c in cells] == ["partial", "partial"]
    train_cells(broken, cells)
    assert store.opened[-1] == 12
    assert [bits(broken, c) for c in cells] == [bits(whole, c) for c in cells]


def test_together_is_alone_bit_for_bit(tmp_path: Path, store: ToyStore) -> None:
    cells = [cell(a) for a in ARCHITECTURES] + [cell("topk", seed=1), cell("topk", steps=12)]
    together, alone = workspace_at(tmp_path / "together"), workspace_at(tmp_path / "alone")
    train_cells(together, cells)
    assert store.opened == [0]
    for wanted in cells:
        train_cells(alone, [wanted])
        assert bits(together, wanted) == bits(alone, wanted)


def test_who_leaves_early_exists_while_the_others_train(tmp_path: Path, store: ToyStore) -> None:
    short, long = cell("topk", steps=9), cell("topk", seed=1)
    broken, whole = workspace_at(tmp_path / "broken"), workspace_at(tmp_path / "whole")
    expected = train_cells(whole, [short, long])
    interrupted(broken, [short, long], store, 15)
    assert [training_state(broken, c) for c in (short, long)] == ["done", "partial"]
    assert query(broken, "SELECT sae FROM saes").to_pylist() == [{"sae": short.sae_id}]
    results = train_cells(broken, [short, long])
    assert [result.reused for result in results] == [True, False]
    assert str(curve_of(results)) == str(curve_of(expected))
    assert query(broken, "SELECT sae FROM saes").num_rows == 2
    for wanted in (short, long):
        assert bits(broken, wanted) == bits(whole, wanted)


@pytest.mark.parametrize("moment", ["write_run", "write_done"])
def test_a_kill_while_one_leaves_changes_no_bit(
    tmp_path: Path, store: ToyStore, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    cells = [cell("topk", steps=9), cell("topk", seed=1)]
    broken, whole = workspace_at(tmp_path / "broken"), workspace_at(tmp_path / "whole")
    train_cells(whole, cells)

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(finish, moment, die)
        with pytest.raises(Killed):
            train_cells(broken, cells)
    assert [training_state(broken, c) for c in cells] == ["partial", "partial"]
    train_cells(broken, cells)
    assert store.opened[-1] == 9
    assert query(broken, "SELECT sae FROM saes").num_rows == 2
    assert [bits(broken, c) for c in cells] == [bits(whole, c) for c in cells]


def test_saes_that_stand_at_different_steps_end_as_if_alone(
    tmp_path: Path, store: ToyStore
) -> None:
    first, second, third = cell("topk"), cell("topk", seed=1), cell("relu")
    mixed, alone = workspace_at(tmp_path / "mixed"), workspace_at(tmp_path / "alone")
    interrupted(mixed, [first], store, 9)
    interrupted(mixed, [second], store, 20)
    store.opened.clear()
    results = train_cells(mixed, [first, second, third])
    assert len(store.opened) == 3
    assert [result.reused for result in results] == [False, False, False]
    for wanted in (first, second, third):
        train_cells(alone, [wanted])
        assert bits(mixed, wanted) == bits(alone, wanted)


def test_seconds_count_over_all_parts_of_a_run(tmp_path: Path, store: ToyStore) -> None:
    workspace = workspace_at(tmp_path)
    wanted = cell()
    interrupted(workspace, [wanted], store, 20)
    run = identify(workspace, wanted)
    before = read_checkpoint(run.folder, run.sae_hash)
    assert before is not None
    (result,) = train_cells(workspace, [wanted])
    assert result.seconds > before.standing.seconds > 0
