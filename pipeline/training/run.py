"""Training the SAEs of one source: what is missing, all together, one pass over its activations.

An SAE's folder holds config.json, checkpoint.safetensors (what an exact resume needs; the last
one stays, with the final optimiser state), sae.safetensors, curve.json and, last, done.json. Its
rows are in the tables before done.json is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.atomic import sweep_leftovers
from pipeline.errors import CheckpointError
from pipeline.locks import cell_lock, device_lock
from pipeline.progress import Progress, Report, silent
from pipeline.study.imported import refuse_training
from pipeline.study.registry import Cell
from pipeline.training.curve import CurveRow
from pipeline.training.identity import Run, identify, identify_all
from pipeline.training.record import CHECKPOINT_FILE, read_curve, read_done, write_config
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.training.group import CheckpointInterval

State = Literal["done", "diverged", "partial", "missing"]


@dataclass(frozen=True)
class TrainingResult:
    """One trained SAE. `reused`: it was there already and nothing was read for it.

    `path` its folder; `tokens` seen, `epochs` passes over the stored rows; `seconds` of training,
    waiting for the device left out; `wait_share` of them spent waiting for data; `final` the last
    interval's metrics and `dead_train`; `curve` all rows; `status` 'ok' or 'diverged'.
    """

    sae: str
    sae_hash: str
    reused: bool
    path: Path
    tokens: int
    epochs: float
    seconds: float
    tokens_per_second: float
    wait_share: float
    final: dict[str, float]
    curve: tuple[CurveRow, ...]
    status: str


def train_cells(
    workspace: Workspace,
    cells: Sequence[Cell],
    *,
    report: Report = silent,
    stop: Callable[[], bool] | None = None,
    interval: CheckpointInterval | None = None,
) -> list[TrainingResult]:
    """The trained SAEs of these cells, all of one source, in the same order.

    What is there already is reused without reading anything; what has a checkpoint continues from
    it, bit for bit as if never interrupted; the rest starts. SAEs of one data seed, batch size and
    set of inputs that stand at the same step are trained together on one pass. `stop` is asked at
    every report.
    Raises WorkspaceError where another process trains one of them, StoreError without activations,
    CheckpointError for a damaged checkpoint, DiskFullError, and TrainingStopped when stopped.
    """
    runs = identify_all(workspace, cells)
    missing = _missing(runs)
    if missing:
        with ExitStack() as held:
            for run in missing:
                held.enter_context(cell_lock(workspace, f"training {run.name}"))
            held.enter_context(_device(workspace, missing, report))
            # Another process may have finished them while this one waited.
            missing = _missing(missing)
            if missing:
                _train(workspace, missing, report=report, stop=stop, interval=interval)
    made = {run.name for run in missing}
    return [_result(run, reused=run.name not in made) for run in runs]


def training_state(workspace: Workspace, cell: Cell) -> State:
    """Whether a cell's SAE is there; cheap, without torch.

    'partial': a checkpoint to continue from; 'diverged': ended by a loss that is not finite.
    """
    from pipeline.corpus.pack import open_corpus

    if open_corpus(workspace, cell.source.model, cell.model) is None:
        return "missing"
    run = identify(workspace, cell)
    done = read_done(run.folder, run.sae_hash)
    if done is not None:
        return "diverged" if done.status == "diverged" else "done"
    return "partial" if (run.folder / CHECKPOINT_FILE).exists() else "missing"


def _missing(runs: Sequence[Run]) -> list[Run]:
    unique = {run.name: run for run in runs}.values()
    missing = [run for run in unique if read_done(run.folder, run.sae_hash) is None]
    for run in missing:
        refuse_training(run.name, run.cell.recipe)
    return missing


def _device(
    workspace: Workspace, runs: Sequence[Run], report: Report
) -> AbstractContextManager[None]:
    source = str(runs[0].cell.source)

    def waiting(holder: str) -> None:
        report(Progress("waiting", 0, 1, "device", f"the device is held by {holder}"))

    return device_lock(workspace, f"training {source}", on_wait=waiting)


def _train(
    workspace: Workspace,
    runs: Sequence[Run],
    *,
    report: Report,
    stop: Callable[[], bool] | None,
    interval: CheckpointInterval | None,
) -> None:
    """Trains the runs group by group; an SAE exists, rows and all, as soon as its budget ends."""
    from pipeline.training.data import open_data
    from pipeline.training.device import training_device
    from pipeline.training.finish import finish_group
    from pipeline.training.group import CheckpointInterval, member_of, train_group

    device = training_device(runs[0].cell.model.device)
    for run in runs:
        sweep_leftovers(run.folder)
        write_config(run)
    for group in _groups(runs):
        store = open_data(workspace, group[0])
        members = [member_of(run, store, device=device) for run in group]
        train_group(
            members,
            store,
            device=device,
            report=report,
            stop=stop,
            interval=interval or CheckpointInterval(),
            leave=partial(finish_group, workspace, store=store),
        )


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that can share a pass: of one data seed, batch size and data, at the same step."""
    from pipeline.training.checkpoint import read_standing
    from pipeline.training.data import data_key

    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        standing = read_standing(run.folder, run.sae_hash)
        step = standing.step if standing else 0
        key = (run.cell.data_seed, run.cell.recipe.batch_size, step, data_key(run))
        groups.setdefault(key, []).append(run)
    # An SAE whose dictionary another one reads is finished before that one is opened.
    return sorted(groups.values(), key=lambda group: _depth(group[0]))


def _depth(run: Run) -> int:
    return 0 if run.dictionary is None else 1 + _depth(run.dictionary)


def _result(run: Run, *, reused: bool) -> TrainingResult:
    done = read_done(run.folder, run.sae_hash)
    if done is None:
        raise CheckpointError(
            f"{run.folder} was removed while {run.name} was being used. Repeat the command."
        )
    return TrainingResult(
        sae=run.name,
        sae_hash=run.sae_hash,
        reused=reused,
        path=run.folder,
        tokens=done.tokens,
        epochs=done.epochs,
        seconds=done.seconds,
        tokens_per_second=done.tokens_per_second,
        wait_share=done.wait_share,
        final={k: math.nan if v is None else v for k, v in done.final.items()},
        curve=read_curve(run.folder).rows,
        status=done.status,
    )
