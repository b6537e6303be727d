"""What a command will do before it does it: what runs, what exists, work, disk and time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from pipeline.errors import StudyError
from pipeline.estimate import (
    Rates,
    evaluation_seconds,
    measured_rates,
    pass_seconds,
    sae_bytes,
    store_bytes,
    through_model_seconds,
    training_seconds,
)
from pipeline.model_shape import ModelShape, check_context, check_layer, model_shape
from pipeline.progress import Report
from pipeline.study.config import ModelConfig
from pipeline.study.names import SaeKey, Source
from pipeline.study.registry import Cell, Registry, needed_by
from pipeline.workspace import Workspace

DONE = "done"
DIVERGED = "diverged"
MISSING = "missing"


@dataclass(frozen=True)
class SourceWork:
    """One source: its state (done, partial, missing), rows and bytes; None where unknown yet."""

    source: Source
    state: str
    rows: int | None
    bytes: int | None


@dataclass(frozen=True)
class CellWork:
    """One SAE: how far training and evaluation are, its token budget in epochs over the rows.

    A training that ended diverged is over; its SAE is never evaluated.
    """

    cell: Cell
    training: str
    evaluation: str
    epochs: float | None

    @property
    def exists(self) -> bool:
        """Whether nothing is left to do."""
        return self.training == DONE and self.evaluation == DONE

    @property
    def to_train(self) -> bool:
        """Whether it is trained when the plan runs."""
        return self.training not in (DONE, DIVERGED)

    @property
    def to_evaluate(self) -> bool:
        """Whether it is evaluated when the plan runs."""
        return self.training != DIVERGED and self.evaluation != DONE


@dataclass(frozen=True)
class Plan:
    """Sources × keys, each with its state; `bytes` and `seconds` are of what is missing.

    `held_out`: the held-out tokens of each model whose corpus is packed.
    """

    sources: tuple[SourceWork, ...]
    cells: tuple[CellWork, ...]
    unpacked: tuple[str, ...]
    held_out: Mapping[str, int]
    bytes: int | None
    seconds: float | None
    rates: Rates

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the language models, in order."""
        return tuple(dict.fromkeys(work.source.model for work in self.sources))

    @property
    def keys(self) -> tuple[SaeKey, ...]:
        """The SAE keys, in order."""
        return tuple(dict.fromkeys(work.cell.key for work in self.cells))

    @property
    def missing_sources(self) -> tuple[SourceWork, ...]:
        """Sources that are harvested when the plan runs."""
        return tuple(work for work in self.sources if work.state != DONE)

    @property
    def missing_cells(self) -> tuple[CellWork, ...]:
        """SAEs that are trained or evaluated when the plan runs."""
        return tuple(work for work in self.cells if not work.exists)

    def passes(self) -> Iterator[tuple[tuple[str, str], list[SourceWork]]]:
        """The language model's passes: (model, weights) and the sources each one stores."""
        ordered = sorted(self.missing_sources, key=lambda work: _variant(work.source))
        for variant, works in groupby(ordered, key=lambda work: _variant(work.source)):
            yield variant, list(works)

    def cells_of(self, source: Source) -> list[CellWork]:
        """The SAEs of one source."""
        return [work for work in self.cells if work.cell.source == source]


def make_plan(
    workspace: Workspace, registry: Registry, sources: Sequence[Source], keys: Sequence[SaeKey]
) -> Plan:
    """The plan of every source × key, and before them of what their recipes need besides.

    Raises StudyError or SiteError before anything runs: unknown names, a layer beyond the
    model's depth, a context beyond its positions, a harvest budget beyond the corpus.
    """
    sources, keys = list(dict.fromkeys(sources)), list(dict.fromkeys(keys))
    for source in sources:
        check_layer(registry.models[registry.check_source(source).model], source)
    sources, cells = _with_inputs(registry, sources, keys)
    names = list(dict.fromkeys(source.model for source in sources))
    for name in names:
        check_context(registry.models[name])
    shapes = {name: model_shape(registry.models[name]) for name in names}
    train_tokens = {name: _tokens(workspace, name, registry.models[name]) for name in names}
    held_out = {name: _tokens(workspace, name, registry.models[name], "held_out") for name in names}
    rows = {name: _rows(name, registry.models[name], train_tokens[name]) for name in names}
    unpacked = tuple(name for name in names if train_tokens[name] is None)
    source_works = tuple(
        _source_work(workspace, s, registry.models[s.model], rows[s.model], shapes[s.model])
        for s in sources
    )
    cell_works = tuple(
        _cell_work(workspace, c, rows[c.source.model], is_packed=c.source.model not in unpacked)
        for c in cells
    )
    rates = measured_rates(workspace, shapes)
    plan = Plan(
        source_works,
        cell_works,
        unpacked=unpacked,
        held_out={name: tokens for name, tokens in held_out.items() if tokens is not None},
        bytes=_bytes(source_works, cell_works, shapes),
        seconds=None,
        rates=rates,
    )
    return replace(plan, seconds=_seconds(plan, shapes))


def pack_corpora(
    workspace: Workspace, registry: Registry, sources: Sequence[Source], *, report: Report
) -> None:
    """Packs the corpora of the sources' models where they are not packed yet.

    Raises what is known to be wrong before that: a layer beyond the model's depth, a context
    beyond its positions, a harvest budget beyond what the text's files can hold.
    """
    from pipeline.corpus.pack import pack_corpus

    for source in sources:
        check_layer(registry.models[source.model], source)
    names = list(dict.fromkeys(source.model for source in sources))
    for name in names:
        check_context(registry.models[name])
        _rows(name, registry.models[name], _tokens(workspace, name, registry.models[name]))
    for name in names:
        pack_corpus(workspace, name, registry.models[name], report=report)


def _with_inputs(
    registry: Registry, sources: list[Source], keys: list[SaeKey]
) -> tuple[list[Source], list[Cell]]:
    """The sources with those that are read beside them, the cells behind those they need."""
    asked = [registry.cell(source, key) for source in sources for key in keys]
    further, saes = needed_by(asked)
    for source in further:
        check_layer(registry.models[source.model], source)
    for cell in asked:
        for site in cell.later_sites:
            check_layer(cell.model, Source(cell.source.model, cell.source.weights, site))
    cells = {cell.sae_id: cell for cell in [*saes, *asked]}
    return list(dict.fromkeys([*sources, *further])), list(cells.values())


def _variant(source: Source) -> tuple[str, str]:
    return source.model, str(source.weights)


def _tokens(
    workspace: Workspace, name: str, config: ModelConfig, split: str = "train"
) -> int | None:
    """Tokens of a split of the model's corpus; None before it is packed."""
    from pipeline.corpus.pack import open_corpus

    corpus = open_corpus(workspace, name, config)
    return None if corpus is None else corpus.n_tokens(split)


def _rows(name: str, config: ModelConfig, available: int | None) -> int | None:
    """Rows of the model's stores; None before the corpus is packed, unless the study says."""
    from pipeline.corpus.bound import check_bound

    wanted = config.harvest.tokens
    if available is None:
        check_bound(name, config)
    if wanted is not None and available is not None and wanted > available:
        raise StudyError(
            f"models.{name}.harvest.tokens is {wanted:,}, but the corpus has {available:,} train "
            f"tokens. Allowed: 1 to {available:,}, or leave it out for all of them; SAEs with a "
            "larger budget read the rows several times."
        )
    return wanted or available


def _source_work(
    workspace: Workspace, source: Source, config: ModelConfig, rows: int | None, shape: ModelShape
) -> SourceWork:
    from pipeline.harvest.run import harvest_state

    width = shape.site_width(source.site)
    known = rows is not None and width is not None
    return SourceWork(
        source,
        harvest_state(workspace, source.model, config, source),
        rows,
        store_bytes(rows, width, config.harvest) if known else None,
    )


def _cell_work(workspace: Workspace, cell: Cell, rows: int | None, *, is_packed: bool) -> CellWork:
    from pipeline.evaluation.run import evaluation_state
    from pipeline.training.run import training_state

    # An SAE's hash rests on the corpus: before that is packed, nothing can be there.
    return CellWork(
        cell,
        training_state(workspace, cell) if is_packed else MISSING,
        evaluation_state(workspace, cell) if is_packed else MISSING,
        _epochs(cell, rows),
    )


def _epochs(cell: Cell, rows: int | None) -> float | None:
    """Passes over what the SAE is trained on: token rows, or a dictionary's rows."""
    rows = cell.dictionary.recipe.n_latents if cell.dictionary else rows
    return cell.recipe.tokens / rows if rows else None


def _bytes(
    sources: Sequence[SourceWork], cells: Sequence[CellWork], shapes: dict[str, ModelShape]
) -> int | None:
    total = 0
    for work in sources:
        if work.state != DONE:
            if work.bytes is None:
                return None
            total += work.bytes
    for work in cells:
        if work.to_train:
            width = shapes[work.cell.source.model].site_width(work.cell.source.site)
            if width is None:
                return None
            total += sae_bytes(width, work.cell.recipe)
    return total


def _seconds(plan: Plan, shapes: dict[str, ModelShape]) -> float | None:
    parts: list[float | None] = [0.0]
    for (model, _), works in plan.passes():
        rows, sites = works[0].rows, [work.source.site for work in works]
        parts.append(None if rows is None else pass_seconds(rows, sites, shapes[model], plan.rates))
    for source in plan.sources:
        shape = shapes[source.source.model]
        width = shape.site_width(source.source.site)
        cells = plan.cells_of(source.source)
        for work in cells:
            if work.to_train:
                seconds = width and training_seconds(width, work.cell.recipe, plan.rates)
                parts += [seconds, through_model_seconds(work.cell.recipe, shape, plan.rates)]
        todo = [work.cell for work in cells if work.to_evaluate]
        if todo:
            tokens = todo[0].evaluation.tokens
            parts.append(evaluation_seconds(tokens, len(todo), shape, plan.rates))
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
