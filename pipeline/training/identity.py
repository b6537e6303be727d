"""Which training run a cell is: its content hash and its folder, cheap and without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.hashing import content_hash, short
from pipeline.study.names import Source
from pipeline.study.registry import Cell
from pipeline.workspace import Workspace

VERSION = 1  # raised by hand when the same inputs give other weights


@dataclass(frozen=True)
class Run:
    """One SAE to train: its cell, the hashes of its source and of itself, and its folder.

    `further` are the sources that stand beside its own in a batch, with their hashes; `dictionary`
    the run of the SAE whose decoder rows are its data.
    """

    cell: Cell
    source_hash: str
    sae_hash: str
    folder: Path
    further: tuple[tuple[Source, str], ...] = ()
    dictionary: Run | None = None

    @property
    def name(self) -> str:
        """The SAE's id, <source>/<recipe>.s<seed>."""
        return self.cell.sae_id

    @property
    def draws_seed(self) -> int:
        """What the SAE's draws are keyed by: its hash, so by its seed and all else that makes it.

        Keyed by the seed alone, SAEs of one seed on trained and on random weights would start
        from the same directions, and their MMCS would measure the start they share.
        """
        return int(self.sae_hash[:15], 16)


def identify(workspace: Workspace, cell: Cell) -> Run:
    """The run of a cell: saes/<source>/<recipe>.s<seed>/<hash8>.

    The hash covers recipe, seed, data seed and all that is trained on: the source, and where the
    recipe names them further sites or an SAE's dictionary. Evaluation settings and the study's
    name are not part of it: they change no weight.
    """
    return identify_all(workspace, [cell])[0]


def identify_all(workspace: Workspace, cells: Sequence[Cell]) -> list[Run]:
    """The runs of cells of one source; raises ValueError for cells of several."""
    sources = {cell.source for cell in cells}
    if len(sources) != 1:
        listing = ", ".join(sorted(map(str, sources))) or "none"
        raise ValueError(f"cells of one source train together; given: {listing}.")
    from pipeline.harvest.run import source_hash

    model = cells[0].model

    @cache
    def hash_of(source: Source) -> str:
        return source_hash(workspace, source.model, model, source)

    return [_run(workspace, cell, hash_of) for cell in cells]


def _run(workspace: Workspace, cell: Cell, hash_of: Callable[[Source], str]) -> Run:
    origin = hash_of(cell.source)
    further = tuple((source, hash_of(source)) for source in cell.further_sources)
    dictionary = None if cell.dictionary is None else _run(workspace, cell.dictionary, hash_of)
    content = {
        "stage": "training",
        "version": VERSION,
        "recipe": cell.recipe.model_dump(mode="json"),
        "seed": cell.key.seed,
        "data_seed": cell.data_seed,
        "source_hash": origin,
    }
    # Only where there are any: an SAE that reads its source alone keeps the hash it always had.
    if further:
        content["further_sources"] = [hash_ for _, hash_ in further]
    if dictionary:
        content["dictionary"] = dictionary.sae_hash
    full = content_hash(content)
    folder = workspace.saes / str(cell.source) / str(cell.key) / short(full)
    return Run(cell, origin, full, folder, further, dictionary)
