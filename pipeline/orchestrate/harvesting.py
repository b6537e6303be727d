"""Harvests what a run's partitions ask for: one pass per model and weights variant."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING

from pipeline.errors import SiteError, UserError
from pipeline.launch.config import LaunchConfig
from pipeline.locks import cell_lock
from pipeline.model_shape import check_layer
from pipeline.progress import Report
from pipeline.study.names import Source
from pipeline.study.registry import Registry
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.harvest.run import HarvestResult


def harvest_requested(
    workspace: Workspace,
    own: Sequence[str],
    requested: Sequence[str],
    *,
    report: Report,
    launch: LaunchConfig | None = None,
) -> tuple[list[HarvestResult], UserError | None]:
    """The results of the run's own sources, and the first problem that kept one from being made.

    `requested` names every source of the same command or backfill: those of the same weights
    variant are stored by the same pass, and their own runs find the work done. A source that
    cannot be made never stops the others.
    """
    registry = Registry.load(workspace)
    good, problems = _usable(registry, own)
    others, _ = _usable(registry, [text for text in requested if text not in set(own)])
    results: list[HarvestResult] = []
    for variant, group in groupby(sorted(good), key=_variant):
        mine = list(group)
        beside = [source for source in others if _variant(source) == variant]
        try:
            results += _one_pass(workspace, registry, mine, beside, report=report, launch=launch)
        except UserError as error:
            problems.append(error)
    return results, problems[0] if problems else None


def _variant(source: Source) -> tuple[str, str]:
    return source.model, str(source.weights)


def _usable(registry: Registry, texts: Sequence[str]) -> tuple[list[Source], list[UserError]]:
    good, problems = [], []
    for text in texts:
        try:
            source = registry.check_source(Source.parse(text))
            check_layer(registry.models[source.model], source)
            good.append(source)
        except UserError as error:
            problems.append(error)
    return good, problems


def _one_pass(
    workspace: Workspace,
    registry: Registry,
    mine: list[Source],
    beside: list[Source],
    *,
    report: Report,
    launch: LaunchConfig | None,
) -> list[HarvestResult]:
    from pipeline.harvest.run import harvest

    name, weights = mine[0].model, mine[0].weights
    config = registry.models[name]
    where = launch or registry.launch_of(name)
    with ExitStack() as held:
        for source in mine:
            held.enter_context(cell_lock(workspace, f"activations {source}"))
        try:
            sites = [source.site for source in [*mine, *beside]]
            results = harvest(workspace, name, config, weights, sites, report=report, launch=where)
        except SiteError:
            if not beside:
                raise
            sites = [source.site for source in mine]
            results = harvest(workspace, name, config, weights, sites, report=report, launch=where)
    names = {str(source) for source in mine}
    return [result for result in results if str(result.source) in names]
