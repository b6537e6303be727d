"""SAEs measured by several processes; matches and rows are left to the one that asks.

A process measures its SAEs in a sweep of its own, with a clean forward of its own, and leaves their
sums beside them, where the evaluation finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.evaluation.identity import Evaluation
from pipeline.launch.config import LaunchConfig
from pipeline.launch.spread import n_workers, spread
from pipeline.progress import Report, silent
from pipeline.training.record import read_done
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Sweep:
    """SAEs of one source that one process measures together."""

    workspace: Workspace
    evaluations: tuple[Evaluation, ...]


def measure_apart(
    workspace: Workspace,
    evaluations: Sequence[Evaluation],
    launch: LaunchConfig,
    *,
    report: Report,
) -> None:
    """Leaves the sums of these SAEs beside them; does nothing where one process does it all."""
    sound = [one for one in evaluations if _is_sound(one)]
    if launch.engine == "local" or len(sound) < 2:
        return
    each = -(-len(sound) // min(n_workers(launch), len(sound)))
    sweeps = [
        Sweep(workspace, tuple(sound[first : first + each])) for first in range(0, len(sound), each)
    ]
    spread(make_sweep, sweeps, launch, what="evaluation", report=report)


def make_sweep(sweep: Sweep) -> None:
    """Measures what is missing of these SAEs."""
    from pipeline.evaluation.work import measured_tables

    measured_tables(sweep.workspace, sweep.evaluations, report=silent)


def _is_sound(one: Evaluation) -> bool:
    done = read_done(one.folder, one.sae_hash)
    return done is not None and done.status == "ok"
