"""Training on several ranks: what is asked of them, and what each of them does.

The parent holds the locks and hears of progress; rank 0 writes checkpoints, weights and rows. All
ranks begin from the same files: none writes before all have read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from pipeline.errors import UserError
from pipeline.launch.config import LaunchConfig
from pipeline.launch.process_ranks import joined
from pipeline.launch.torchrun import JobFolder, n_ranks, run_ranks
from pipeline.locks import cell_holder
from pipeline.progress import Progress, Report
from pipeline.training.crew import Crew
from pipeline.training.device import training_device
from pipeline.training.group import CheckpointInterval
from pipeline.training.identity import Run
from pipeline.training.record import read_done
from pipeline.training.train_runs import train_runs
from pipeline.workspace import Workspace

MODULE = "pipeline.training.on_ranks"


@dataclass(frozen=True)
class TrainingJob:
    """What ranks train, and for whom: the process that holds the runs' locks."""

    workspace: Workspace
    runs: tuple[Run, ...]
    split: Literal["tokens", "latents"]
    interval: CheckpointInterval | None
    parent: int


def train_on_ranks(
    workspace: Workspace,
    runs: Sequence[Run],
    launch: LaunchConfig,
    *,
    report: Report,
    stop: Callable[[], bool] | None,
    interval: CheckpointInterval | None,
    module: str | None = None,
) -> None:
    """Trains the runs, whose locks this process holds, on the ranks that `launch` asks for."""
    job = TrainingJob(workspace, tuple(runs), launch.split, interval, os.getpid())
    run_ranks(
        module or MODULE,
        job,
        ranks=n_ranks(launch.ranks),
        max_restarts=launch.max_restarts,
        report=report,
        stop=stop,
    )


def main(folder: JobFolder) -> None:
    """What every rank does, at its first start and after a restart."""
    refused = folder.refusal()
    if refused is not None:
        return
    job: TrainingJob = folder.job()
    try:
        _train(job, folder)
    except UserError as error:
        folder.refuse(error)


def _train(job: TrainingJob, folder: JobFolder) -> None:
    device = _device(job.runs[0].cell.model.device)
    with joined(device) as ranks:
        missing = [run for run in job.runs if read_done(run.folder, run.sae_hash) is None]
        ranks.gathered(torch.zeros(1, device=device))
        if not missing:
            return

        def report(progress: Progress) -> None:
            if ranks.index == 0:
                folder.tell(progress)

        def stop() -> bool:
            return folder.is_asked_to_stop() or not _is_waited_for(job)

        train_runs(
            job.workspace,
            missing,
            device=device,
            report=report,
            stop=stop,
            interval=job.interval,
            crew=Crew(ranks, job.split),
        )


def _is_waited_for(job: TrainingJob) -> bool:
    """Whether the parent still holds its locks: nobody else may have begun in its place."""
    holder = cell_holder(job.workspace, f"training {job.runs[0].name}")
    return holder is not None and holder.pid == job.parent


def _device(wanted: str) -> torch.device:
    device = training_device(wanted)
    if device.type == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


if __name__ == "__main__":
    main(JobFolder(Path(sys.argv[1])))
