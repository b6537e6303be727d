"""SAEs that have a folder in a workspace."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.errors import StudyError
from pipeline.study.names import SaeKey, Source
from pipeline.study.registry import Cell, Registry
from pipeline.workspace import Workspace


def cells_on_disk(
    workspace: Workspace, registry: Registry, *, beside: Source | None = None
) -> Iterator[Cell]:
    """Cells that have a folder and that a study still names; `beside`: at its model and site."""
    sources = "*" if beside is None else f"{beside.model}.*.{beside.site}"
    for folder in sorted(workspace.saes.glob(f"{sources}/*")):
        try:
            yield registry.cell(Source.parse(folder.parent.name), SaeKey.parse(folder.name))
        except StudyError:
            continue  # a folder of a name that no study uses any more
