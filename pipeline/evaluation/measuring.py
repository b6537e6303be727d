"""From sums to numbers with intervals; the language model is not needed any more."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.tables import DocumentTables, LatentSums, version_text
from sae_core.bootstrap import resample_counts
from sae_core.metrics import definitions, metrics
from sae_core.metrics.definition import Measured
from sae_core.metrics.firing_metric import Firing, FiringMetric
from sae_core.metrics.match_metric import MatchMetric, MatchSeen
from sae_core.metrics.tally_metric import TallyMetric
from sae_core.metrics.token_metric import TokenMetric, measure


def missing_metrics(
    known: DocumentTables | None, curve_tokens: int
) -> dict[str, TokenMetric | TallyMetric]:
    """The metrics whose sums or tally are missing from `known`, or of another version there."""
    versions = known.versions if known else {}
    return {
        name: metric
        for name, metric in metrics().items()
        if isinstance(metric, TokenMetric | TallyMetric)
        and versions.get(name) != version_text(metric, curve_tokens)
    }


def numbers(evaluation: Evaluation, found: DocumentTables) -> dict[str, Measured]:
    """Every number that one SAE's own sums give, in the order of the metrics' names."""
    settings = evaluation.cell.evaluation
    counts = resample_counts(len(found.documents), settings.bootstrap, seed=settings.bootstrap_seed)
    measured: dict[str, Measured] = {}
    for name, metric in metrics().items():
        if isinstance(metric, TokenMetric):
            measured |= measure(metric, found.tables[name], counts, evaluation.setting)
        elif isinstance(metric, FiringMetric):
            measured |= metric.values(firing(found.latents))
        elif isinstance(metric, TallyMetric):
            measured |= metric.values(found.tallies[name])
    return measured


def firing(latents: LatentSums) -> Firing:
    """What metrics over latents see."""
    return Firing(latents.n_fires, latents.n_tokens, latents.l0_histogram, latents.dead_train)


def missing_numbers(reason: str) -> dict[str, Measured]:
    """All numbers of an SAE that cannot be measured, each with the reason."""
    return {definition.name: Measured(None, reason=reason) for definition in definitions()}


def match_numbers(evaluation: Evaluation, seen: Sequence[MatchSeen]) -> dict[str, Measured]:
    """The numbers that an SAE's matches with others give."""
    variant = evaluation.cell.source.weights.variant
    measured: dict[str, Measured] = {}
    for metric in metrics().values():
        if isinstance(metric, MatchMetric):
            measured |= metric.values(variant, seen)
    return measured
