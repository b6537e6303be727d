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
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.atomic import sweep_leftovers
from pipeline.errors import CheckpointError
from pipeline.launch.config import LaunchConfig, check_launch
from pipeline.locks import cell_lock, device_lock
from pipeline.progress import Progress, Report, silent
from pipeline.remote.where_named import bring_saes, keep_saes
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
    interval's metrics and `dead_train`; `curve` all rows; `status` 'ok' or 'diverged', and then
    `divergence` says where, in what, and what is left; `ways` on what it was trained, in order.
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
    divergence: str | None = None
    ways: tuple[str, ...] = ()


def train_cells(
    workspace: Workspace,
    cells: Sequence[Cell],
    *,
    report: Report = silent,
    stop: Callable[[], bool] | None = None,
    interval: CheckpointInterval | None = None,
    launch: LaunchConfig | None = None,
) -> list[TrainingResult]:
    """The trained SAEs of these cells, all of one source, in the same order.

    What is there already is reused without reading anything; what has a checkpoint continues from
    it, bit for bit as if never interrupted; the rest starts. SAEs of one data seed, batch size and
    set of inputs that stand at the same step are trained together on one pass. `stop` is asked at
    every report. `launch` is where they are trained; none: where the first one's study says.
    Raises WorkspaceError where another process trains one of them, StoreError without activations,
    CheckpointError for a damaged checkpoint, RemoteError, DiskFullError, and TrainingStopped when
    stopped.
    """
    runs = identify_all(workspace, cells)
    bring_saes(workspace, runs)
    missing = _missing(runs)
    if missing:
        with ExitStack() as held:
            for run in missing:
                held.enter_context(cell_lock(workspace, f"training {run.name}"))
            held.enter_context(_device(workspace, missing, report))
            # Another process may have finished them while this one waited.
            missing = _missing(missing)
            if missing:
                where = launch or missing[0].cell.launch
                check_launch(where, {run.cell.key.recipe: run.cell.recipe for run in missing})
                _train(workspace, missing, where, report=report, stop=stop, interval=interval)
    keep_saes(workspace, runs)
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
    bring_saes(workspace, [run])
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
    launch: LaunchConfig,
    *,
    report: Report,
    stop: Callable[[], bool] | None,
    interval: CheckpointInterval | None,
) -> None:
    for run in runs:
        sweep_leftovers(run.folder)
        write_config(run)
    if launch.engine == "torchrun":
        from pipeline.training.on_ranks import train_on_ranks

        train_on_ranks(workspace, runs, launch, report=report, stop=stop, interval=interval)
    else:
        from pipeline.training.device import training_device
        from pipeline.training.train_runs import train_runs

        device = training_device(runs[0].cell.model.device)
        train_runs(workspace, runs, device=device, report=report, stop=stop, interval=interval)


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
        divergence=done.divergence if done.status == "diverged" else None,
        ways=done.ways,
    )
