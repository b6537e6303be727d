"""Training what is missing of one source, group by group; each group reads the data once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pipeline.progress import Report
from pipeline.training.checkpoint import read_standing
from pipeline.training.crew import Crew
from pipeline.training.data import data_key, open_data
from pipeline.training.finish import finish_group
from pipeline.training.group import CheckpointInterval, member_of, train_group
from pipeline.training.identity import Run
from pipeline.workspace import Workspace
from sae_core.ranks import from_first

if TYPE_CHECKING:
    import torch

_ALONE = Crew()


def train_runs(
    workspace: Workspace,
    runs: Sequence[Run],
    *,
    device: torch.device,
    report: Report,
    stop: Callable[[], bool] | None,
    interval: CheckpointInterval | None,
    crew: Crew = _ALONE,
) -> None:
    """Trains the runs group by group; an SAE exists, rows and all, as soon as its budget ends.

    With several ranks, called by all of them at once.
    """
    for group in groups_of(runs):
        store = open_data(workspace, group[0])
        members = [member_of(run, store, device=device, crew=crew) for run in group]
        train_group(
            members,
            store,
            device=device,
            crew=crew,
            report=report,
            stop=stop,
            interval=interval or CheckpointInterval(),
            leave=partial(finish_group, workspace, store=store, crew=crew),
        )
        # What the first rank wrote may be read by all in the next group.
        from_first(True, crew.ranks, device=device)


def groups_of(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that can share a pass: of one data seed, batch size and data, at the same step."""
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
