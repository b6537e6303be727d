"""Which SAEs are matched with which, by default.

Pairs: the same recipe and source with another seed; the same recipe and seed on trained and on
other weights; the same source and seed with another width. Whichever of two is evaluated later
makes the pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.evaluation.identity import Evaluation, identify_all
from pipeline.evaluation.record import read_record
from pipeline.evaluation.tables import tables_path
from pipeline.study.on_disk import cells_on_disk
from pipeline.study.registry import Cell, Registry
from pipeline.workspace import Workspace
from sae_core.metrics.match_metric import Pair

_TRAINED = "trained"


@dataclass(frozen=True)
class Neighbours:
    """Two SAEs to be matched. `a` is the trained one, of the lower seed, or of fewer latents."""

    pair: Pair
    a: Evaluation
    b: Evaluation


def neighbours(
    workspace: Workspace, mine: Sequence[Evaluation], *, measured: Sequence[Evaluation]
) -> list[Neighbours]:
    """Pairs of each of `mine` with every measured SAE of the workspace it is matched with.

    `measured` are known to have been measured just now; others count where their record says so.
    """
    cells = {cell.sae_id: cell for cell in _relatives(workspace, mine)}
    fresh = {evaluation.sae: evaluation for evaluation in measured}
    others = identify_all(workspace, [c for name, c in cells.items() if name not in fresh])
    known = [*fresh.values(), *(other for other in others if is_measured(other))]
    found: dict[tuple[str, str], Neighbours] = {}
    for one in mine:
        for other in known:
            pair = pair_of(one.cell, other.cell)
            if pair is not None:
                a, b = sorted((one, other), key=ordered)
                found[a.sae, b.sae] = Neighbours(pair, a, b)
    return list(found.values())


def is_measured(evaluation: Evaluation) -> bool:
    """Whether the evaluation is done and has sums: a diverged SAE has none."""
    record = read_record(evaluation.folder, evaluation.evaluation_hash)
    return record is not None and tables_path(evaluation.folder, evaluation.tables_hash).exists()


def pair_of(one: Cell, other: Cell) -> Pair | None:
    """What kind of pair two cells are, None for none."""
    same_place = (one.source.model, one.source.site) == (other.source.model, other.source.site)
    if not same_place:
        return None
    if one.source == other.source:
        if one.key.recipe == other.key.recipe:
            return "other_seed" if one.key.seed != other.key.seed else None
        other_width = one.recipe.n_latents != other.recipe.n_latents
        of_the_same = _written(one) == _written(other)
        same_seed = one.key.seed == other.key.seed
        return "other_width" if same_seed and other_width and of_the_same else None
    variants = {one.source.weights.variant, other.source.weights.variant}
    twins = one.key == other.key and _TRAINED in variants and len(variants) > 1
    return "other_weights" if twins else None


def _written(cell: Cell) -> tuple[object, ...]:
    """What a dictionary's directions are of: only those of one kind can be compared."""
    if cell.dictionary is not None:
        return (cell.dictionary.sae_id,)
    further = cell.further_sources
    return (cell.source,) if not further else (cell.recipe.architecture, *further)


def relatives_on_other_weights(workspace: Workspace, cell: Cell) -> list[Cell]:
    """The cells of a recipe at one site on every weights variant and of every seed, on disk."""
    return [
        other
        for other in cells_on_disk(workspace, Registry.load(workspace), beside=cell.source)
        if other.key.recipe == cell.key.recipe
    ]


def experts_beside_dense(
    workspace: Workspace, fresh: Sequence[Evaluation]
) -> list[tuple[Evaluation, Evaluation]]:
    """Mixtures of experts, each with every dense SAE of its source and seed, both measured.

    Of each pair one is among `fresh`, which were measured just now.
    """
    known = {one.sae: one for one in fresh}
    registry, cells = Registry.load(workspace), {}
    for one in fresh:
        if one.cell.recipe.inputs == "source":
            beside = cells_on_disk(workspace, registry, beside=one.cell.source)
            cells |= {c.sae_id: c for c in beside if _is_beside(one.cell, c)}
    others = identify_all(workspace, [c for name, c in cells.items() if name not in known])
    measured = [one for one in (*fresh, *others) if one.sae in known or is_measured(one)]
    pairs = [
        (mixture, dense)
        for mixture in measured
        if mixture.cell.recipe.has_experts
        for dense in measured
        if _is_beside(mixture.cell, dense.cell)
    ]
    return [(a, b) for a, b in pairs if a.sae in known or b.sae in known]


def _is_beside(one: Cell, other: Cell) -> bool:
    """Whether one is divided among experts and the other, of the same source and seed, is not."""
    return (
        one.recipe.has_experts != other.recipe.has_experts
        and one.recipe.inputs == other.recipe.inputs == "source"
        and one.source == other.source
        and one.key.seed == other.key.seed
    )


def _relatives(workspace: Workspace, mine: Sequence[Evaluation]) -> Iterator[Cell]:
    registry = Registry.load(workspace)
    for source in dict.fromkeys(one.cell.source for one in mine):
        for cell in cells_on_disk(workspace, registry, beside=source):
            if any(pair_of(one.cell, cell) for one in mine):
                yield cell


def ordered(evaluation: Evaluation) -> tuple[bool, int, int, str]:
    """The key by which the two sides of a pair are sorted, see `Neighbours`."""
    cell = evaluation.cell
    is_other = cell.source.weights.variant != _TRAINED
    return is_other, cell.recipe.n_latents, cell.key.seed, evaluation.sae
