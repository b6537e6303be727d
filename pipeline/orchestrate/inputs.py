"""What an SAE is trained on besides its source: made first, where it is missing."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.errors import StudyError, UserError
from pipeline.launch.config import LaunchConfig
from pipeline.orchestrate.partitions import split_cell_key
from pipeline.progress import Report
from pipeline.study.names import SaeKey, Source
from pipeline.study.registry import Cell, Registry, needed_by
from pipeline.workspace import Workspace


def make_inputs(
    workspace: Workspace, cell: Cell, *, report: Report, launch: LaunchConfig | None = None
) -> None:
    """Harvests the further sites that a cell names, and trains the SAE whose dictionary it reads.

    All sites of one weights variant that are missing are stored by one pass. Nothing happens for
    a cell that reads its own source alone. Raises StudyError where that SAE's training diverged.
    """
    from pipeline.harvest.run import harvest
    from pipeline.training.run import train_cells

    _, cells = needed_by([cell])
    sites = list(dict.fromkeys(s.site for one in [cell, *cells] for s in one.further_sources))
    sites += [one.source.site for one in cells if one.source.site not in sites]
    if sites:
        source = cell.source
        where = launch or cell.launch
        harvest(
            workspace,
            source.model,
            cell.model,
            source.weights,
            sites,
            report=report,
            launch=where,
        )
    for one in cells:
        (made,) = train_cells(workspace, [one], report=report, launch=launch)
        if made.status != "ok":
            raise StudyError(
                f"{cell.sae_id} cannot be trained: it reads the dictionary of {one.sae_id}, whose "
                f"training {made.status}. Give that recipe a smaller learning rate, or name "
                "another dictionary."
            )


def sources_of_cells(workspace: Workspace, partitions: Iterable[str]) -> list[Source]:
    """Sources that the cells of grid partitions need besides their own; unusable keys give none."""
    registry = Registry.load(workspace)
    cells = []
    for partition in partitions:
        source, key = split_cell_key(partition)
        try:
            cells.append(registry.cell(Source.parse(source), SaeKey.parse(key)))
        except UserError:
            continue  # its own run says why
    return needed_by(cells)[0]
