"""The cell a run is about, and the cells of the same source that share its pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pipeline.errors import UserError, WorkspaceError
from pipeline.orchestrate.partitions import split_cell_key
from pipeline.study.names import SaeKey, Source
from pipeline.study.registry import Cell, Registry
from pipeline.workspace import Workspace


class _OfSae(Protocol):
    """A result that says which SAE it is of."""

    @property
    def sae(self) -> str: ...


Made = TypeVar("Made", bound=_OfSae)


@dataclass(frozen=True)
class CellRequest:
    """A run's own cell, and with it the cells of the same source that were asked for together."""

    own: Cell
    together: tuple[Cell, ...]

    def only(self, keep: Callable[[Cell], bool]) -> CellRequest:
        """The same request with fewer cells beside its own."""
        beside = (cell for cell in self.together if cell == self.own or keep(cell))
        return CellRequest(self.own, tuple(beside))

    def made_by(self, make: Callable[[Sequence[Cell]], Sequence[Made]]) -> Made:
        """The own cell's result, made together with the others.

        Where another process is making one of the others, the own cell is made alone.
        """
        try:
            results = make(self.together)
        except WorkspaceError:
            if len(self.together) == 1:
                raise
            results = make([self.own])
        return next(result for result in results if result.sae == self.own.sae_id)


def cell_request(workspace: Workspace, own: str, requested: Sequence[str]) -> CellRequest:
    """The request of a grid partition; raises StudyError for a key nobody can make.

    Cells of `requested` that cannot be made are left to their own runs, which say why; so are
    those that need other inputs, which could not share the pass.
    """
    registry = Registry.load(workspace)
    cell = _cell(registry, own)
    together = [cell]
    for text in requested:
        if text != own and split_cell_key(text)[0] == str(cell.source):
            try:
                other = _cell(registry, text)
            except UserError:
                continue
            if _inputs(other) == _inputs(cell):
                together.append(other)
    return CellRequest(cell, tuple(together))


def _inputs(cell: Cell) -> tuple[object, ...]:
    return cell.further_sources, cell.dictionary


def _cell(registry: Registry, partition: str) -> Cell:
    source_text, key_text = split_cell_key(partition)
    source = registry.check_source(Source.parse(source_text))
    return registry.cell(source, registry.check_key(SaeKey.parse(key_text)))
