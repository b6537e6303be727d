"""Independent parts of a work, made by several processes: torchrun's ranks or tasks of Ray.

A part is a call of one function of a module with one argument. It leaves its result on the disk and
does nothing where that is there already, so that a part whose process died is simply made again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.launch.config import LaunchConfig
from pipeline.launch.torchrun import JobFolder, n_ranks, run_ranks
from pipeline.progress import Progress, Report

MODULE = "pipeline.launch.spread"
Make = Callable[[Any], None]


def n_workers(launch: LaunchConfig) -> int:
    """How many parts are made at the same time; 1 where all is done here."""
    if launch.engine == "local":
        return 1
    if launch.engine == "ray":
        from pipeline.launch.ray_tasks import n_slots

        return launch.ranks or n_slots(launch)
    return n_ranks(launch.ranks)


def spread(
    make: Make, parts: Sequence[Any], launch: LaunchConfig, *, what: str, report: Report
) -> None:
    """Makes every part, by the processes that `launch` asks for.

    Raises what a part raised where that is a UserError, and LaunchError where processes died more
    often than they may be started again.
    """
    if launch.engine == "ray":
        from pipeline.launch.ray_tasks import run_tasks

        run_tasks(make, parts, launch, what=what, report=report)
        return
    run_ranks(
        MODULE,
        (make, tuple(parts), what),
        ranks=n_workers(launch),
        max_restarts=launch.max_restarts,
        report=report,
        stop=None,
    )


def main(folder: JobFolder) -> None:
    """What every rank does: each r-th part, r being its number among them."""
    from pipeline.errors import UserError

    if folder.refusal() is not None:
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    _use_own_device()
    make, parts, what = folder.job()
    own = parts[rank::size]
    try:
        for number, part in enumerate(own):
            make(part)
            if rank == 0:
                folder.tell(Progress(what, number + 1, len(own), "parts", f"{size} processes"))
    except UserError as error:
        folder.refuse(error)


def _use_own_device() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


if __name__ == "__main__":
    main(JobFolder(Path(sys.argv[1])))
