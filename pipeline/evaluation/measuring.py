"""From sums to numbers with intervals; the language model is not needed any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.evaluation.dictionary_sweep import NO_LANGUAGE_MODEL, ON_ROWS
from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.tables import DocumentTables, LatentSums, version_text
from pipeline.study.config import EvaluationConfig
from pipeline.study.registry import Cell
from pipeline.study.variants import GAUSSIAN
from sae_core.bootstrap import interval, resample_counts
from sae_core.group_jackknife import group_replicates
from sae_core.metrics import Metric, definitions, metrics
from sae_core.metrics.definition import Measured
from sae_core.metrics.firing_metric import Firing, FiringMetric
from sae_core.metrics.match_metric import MatchMetric, MatchSeen
from sae_core.metrics.tally_metric import TallyMetric
from sae_core.metrics.token_metric import TokenMetric, measure

if TYPE_CHECKING:
    import numpy as np


def missing_metrics(
    known: DocumentTables | None, curve_tokens: int, labels_version: str = ""
) -> dict[str, TokenMetric | TallyMetric]:
    """The metrics whose sums or tally are missing from `known`, or of another version there."""
    versions = known.versions if known else {}
    return {
        name: metric
        for name, metric in metrics().items()
        if isinstance(metric, TokenMetric | TallyMetric)
        and versions.get(name) != version_text(metric, curve_tokens, labels_version)
    }


def numbers(evaluation: Evaluation, found: DocumentTables) -> dict[str, Measured]:
    """Every number that one SAE's own sums give, in the order of the metrics' names."""
    settings = evaluation.cell.evaluation
    counts = resample_counts(len(found.documents), settings.bootstrap, seed=settings.bootstrap_seed)
    measured: dict[str, Measured] = {}
    for name, metric in metrics().items():
        reason = why_not(metric, evaluation.cell)
        if reason is not None:
            measured |= {d.name: Measured(None, reason=reason) for d in metric.definitions}
        elif isinstance(metric, TokenMetric):
            measured |= measure(metric, found.tables[name], counts, evaluation.setting)
        else:
            for number, (point, replicates) in counted(name, found, settings).items():
                measured[number] = _with_interval(point, replicates)
    if evaluation.cell.dictionary is None:
        return {name: _told(m, COUNTED) for name, m in measured.items()}
    return {name: replace(m, reason=m.reason or ON_ROWS) for name, m in measured.items()}


def why_not(metric: Metric, cell: Cell) -> str | None:
    """Why a metric does not apply to a cell's SAE; None where it does."""
    if cell.dictionary is not None:
        if isinstance(metric, TokenMetric) and metric.of != "reconstruction":
            return NO_LANGUAGE_MODEL
        if isinstance(metric, TallyMetric) and metric.of != "dictionary":
            return NO_LANGUAGE_MODEL
    if isinstance(metric, TokenMetric) and metric.of != "reconstruction" and no_losses(cell):
        return no_losses(cell)
    if cell.further_sources and isinstance(metric, TokenMetric) and metric.of == "every_prediction":
        return OTHER_SITES
    if cell.further_sources and isinstance(metric, TallyMetric) and metric.of == "reconstruction":
        return OTHER_SITES
    if isinstance(metric, TallyMetric) and metric.labelled and not cell.evaluation.probe_tokens:
        return NO_PROBES
    if not cell.recipe.code_is_all and isinstance(metric, TallyMetric) and metric.splices:
        return TOKENS_OWN
    return None


def no_losses(cell: Cell) -> str | None:
    """Why the language model has no losses on a cell's activations; None where it has."""
    return DRAWN if cell.source.weights.variant == GAUSSIAN else None


DRAWN = "activations are drawn from a Gaussian: the language model predicts nothing from them"
TOKENS_OWN = "defined for codes that need nothing of the token itself to be decoded"
OTHER_SITES = "defined for SAEs that reconstruct the site they read, and it alone"
NO_PROBES = "probes are switched off: evaluation.probe_tokens is 0"
COUNTED = "no interval: counted on all documents together"
Counted = Mapping[str, tuple[Measured, "np.ndarray | None"]]


def counted(name: str, found: DocumentTables, settings: EvaluationConfig) -> Counted:
    """The numbers of a metric that is no sum over tokens, with resamples (B,) where there are any.

    None of a metric over matches: these are no function of one SAE's sums.
    """
    metric = metrics()[name]
    arrays: Mapping[str, np.ndarray] = {}
    if isinstance(metric, FiringMetric):
        points = metric.values(firing(found.latents))
        left_out = _without_each_group(metric, found.latents) if metric.smooth else {}
    elif isinstance(metric, TallyMetric):
        arrays = found.tallies[name]
        points = metric.values(arrays)
        left_out = {number: arrays.get(f"left_out/{number}") for number in points}
    else:
        return {}
    if isinstance(metric, TallyMetric) and metric.labelled:
        return {
            number: (point, arrays.get(f"replicates/{number}")) for number, point in points.items()
        }
    return {
        number: (point, _replicates(point, left_out.get(number), settings))
        for number, point in points.items()
    }


def _replicates(
    point: Measured, left_out: np.ndarray | None, settings: EvaluationConfig
) -> np.ndarray | None:
    if point.value is None or left_out is None:
        return None
    seed = settings.bootstrap_seed
    return group_replicates(point.value, left_out, settings.bootstrap, seed=seed)


def _with_interval(point: Measured, replicates: np.ndarray | None) -> Measured:
    if replicates is None:
        return point
    low, high = (float(end) for end in interval(replicates))
    return replace(point, ci_low=low, ci_high=high)


def _told(measured: Measured, why: str) -> Measured:
    """The same, saying why it has no interval where it has none and says nothing yet."""
    bare = measured.value is not None and measured.ci_low is None and measured.ci_high is None
    return replace(measured, reason=measured.reason or why) if bare else measured


def firing(latents: LatentSums) -> Firing:
    """What metrics over latents see."""
    return Firing(latents.n_fires, latents.n_tokens, latents.l0_histogram, latents.dead_train)


def _without_each_group(metric: FiringMetric, latents: LatentSums) -> dict[str, np.ndarray]:
    """Each number without each group of documents, (G,), NaN where it cannot be told."""
    import numpy as np

    found: dict[str, list[float]] = {}
    for fires, l0 in zip(latents.group_fires, latents.group_l0, strict=True):
        rest = Firing(
            latents.n_fires - fires,
            latents.n_tokens - int(l0.sum()),
            latents.l0_histogram - l0,
            latents.dead_train,
        )
        for number, measured in metric.values(rest).items():
            value = np.nan if measured.value is None else measured.value
            found.setdefault(number, []).append(value)
    return {number: np.array(values) for number, values in found.items()}


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
