"""Trained minus random, paired on the same documents, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.measuring import COUNTED, counted, why_not
from pipeline.evaluation.rows import Row
from pipeline.evaluation.tables import DocumentTables
from sae_core.bootstrap import interval, resample_counts, seed_weights
from sae_core.metrics import metrics
from sae_core.metrics.token_metric import TokenMetric

GIVEN_SEEDS = "documents (given these seeds)"
GIVEN_WEIGHTS = "SAE seeds and documents (given these weights)"
ALL_SEEDS = "weights seeds, SAE seeds and documents"
ENOUGH_SEEDS = 3
_TRAINED_ONLY = {"compute_recovered"}
_SEEDS_ALONE = "the interval resamples seeds alone: counted on all documents together"
_OTHER_DOCUMENTS = "measured on different documents"


@dataclass(frozen=True)
class Sample:
    """One SAE's numbers: the value, its resamples (B,), and why it is missing."""

    value: float | None
    replicates: np.ndarray | None
    reason: str | None


class Resampled:
    """Numbers of SAEs under one set of document resamples, each computed once."""

    def __init__(self, n_documents: int, evaluation: Evaluation) -> None:
        self.settings = settings = evaluation.cell.evaluation
        self.seed, self.n_resamples = settings.bootstrap_seed, settings.bootstrap
        self._counts = resample_counts(n_documents, self.n_resamples, seed=self.seed)
        self._known: dict[str, dict[str, Sample]] = {}

    def samples(self, evaluation: Evaluation, tables: DocumentTables) -> Mapping[str, Sample]:
        """Every number that can be compared, by name."""
        if evaluation.sae not in self._known:
            self._known[evaluation.sae] = self._compute(evaluation, tables)
        return self._known[evaluation.sae]

    def _compute(self, evaluation: Evaluation, tables: DocumentTables) -> dict[str, Sample]:
        found: dict[str, Sample] = {}
        for name, metric in metrics().items():
            reason = why_not(metric, evaluation.cell)
            if reason is not None:
                found |= {d.name: Sample(None, None, reason) for d in metric.definitions}
                continue
            if not isinstance(metric, TokenMetric):
                for number, (m, replicates) in counted(name, tables, self.settings).items():
                    found[number] = Sample(m.value, replicates, m.reason)
            elif name not in _TRAINED_ONLY:
                found |= self._resample(metric, tables.tables[name], evaluation)
        return found

    def _resample(
        self, metric: TokenMetric, table: np.ndarray, evaluation: Evaluation
    ) -> dict[str, Sample]:
        totals, replicates = table.sum(0), self._counts @ table
        with np.errstate(all="ignore"):
            points = metric.values(totals, evaluation.setting)
            resampled = metric.values(replicates, evaluation.setting)
            reasons = metric.reasons(totals, replicates, evaluation.setting)
        found = {}
        for name, point in points.items():
            reason = reasons.get(name)
            if reason is None and not np.isfinite(point):
                reason = "not finite on these tokens"
            value = None if reason else float(point)
            found[name] = Sample(value, np.asarray(resampled[name]), reason)
        return found


Measurement = tuple[Evaluation, DocumentTables]


def compare(one: Measurement, other: Measurement) -> list[Row]:
    """Rows of `comparisons` for one SAE on trained weights and its twin on other weights."""
    (a, tables_a), (b, tables_b) = one, other
    hashes = {"sae_a_hash": a.sae_hash, "sae_b_hash": b.sae_hash}
    names = {"sae_a": a.sae, "sae_b": b.sae, **hashes, "level": GIVEN_SEEDS}
    n = len(tables_a.documents)
    same = np.array_equal(tables_a.documents, tables_b.documents)
    resampled = Resampled(n, a)
    samples_a = resampled.samples(a, tables_a)
    if not same:
        return [_row(names, metric, reason=_OTHER_DOCUMENTS) for metric in samples_a]
    samples_b = resampled.samples(b, tables_b)
    return [
        _difference(names, name, n, [samples_a[name]], [samples_b[name]], None)
        for name in samples_a
    ]


def compare_seeds(
    trained: Sequence[Measurement], other: Sequence[Sequence[Measurement]], *, name_b: str
) -> list[Row]:
    """Rows for all seeds of a recipe together, where there are enough; else none.

    `trained`: the seeds on trained weights. `other`: the seeds on other weights, one sequence per
    weights seed. The difference is one of means over seeds; resampled are weights seeds, SAE seeds
    within them, and documents, the same for both sides. Hashes are NULL: a row is about a group.
    """
    everything = [*trained, *(m for group in other for m in group)]
    first, tables = trained[0]
    n = len(tables.documents)
    if any(not np.array_equal(tables.documents, t.documents) for _, t in everything):
        return []
    sizes = [len(group) for group in other]
    given_weights = len(sizes) == 1
    if len(trained) < ENOUGH_SEEDS or (sizes[0] if given_weights else len(sizes)) < ENOUGH_SEEDS:
        return []
    names = {
        "sae_a": f"{first.cell.source}/{first.cell.key.recipe}.s*",
        "sae_b": name_b,
        "sae_a_hash": None,
        "sae_b_hash": None,
        "level": GIVEN_WEIGHTS if given_weights else ALL_SEEDS,
    }
    resampled = Resampled(n, first)
    drawn = tuple(
        seed_weights(groups, resampled.n_resamples, seed=resampled.seed, stream=stream)
        for stream, groups in ((1, [len(trained)]), (2, sizes))
    )
    sides = [
        [resampled.samples(*m) for m in side]
        for side in (trained, [m for group in other for m in group])
    ]
    return [
        _difference(names, name, n, *([s[name] for s in side] for side in sides), drawn, sizes)
        for name in sides[0][0]
    ]


def _difference(
    names: Row,
    metric: str,
    n: int,
    side_a: Sequence[Sample],
    side_b: Sequence[Sample],
    drawn: tuple[np.ndarray, np.ndarray] | None,
    sizes: Sequence[int] = (1,),
) -> Row:
    """Mean over seeds of a minus that of b; each weights seed counts alike."""
    for who, side in (("a", side_a), ("b", side_b)):
        for sample in side:
            if sample.value is None:
                return _row(names, metric, n=n, reason=f"{who}: {sample.reason}")
    even_a = np.full(len(side_a), 1 / len(side_a))
    even_b = np.concatenate([np.full(size, 1 / size / len(sizes)) for size in sizes])
    values = [np.array([sample.value for sample in side]) for side in (side_a, side_b)]
    difference = float(even_a @ values[0] - even_b @ values[1])
    fixed = all(sample.replicates is None for sample in (*side_a, *side_b))
    if fixed and drawn is None:
        return _row(names, metric, n=n, difference=difference, reason=COUNTED)
    if n < 2:
        return _row(names, metric, n=n, difference=difference, reason="no interval: one document")
    weights = drawn or (even_a[None], even_b[None])
    means = [
        (w * np.stack(np.broadcast_arrays(*map(_replicates, side)), axis=1)).sum(1)
        for w, side in zip(weights, (side_a, side_b), strict=True)
    ]
    low, high = (float(end) for end in interval(means[0] - means[1]))
    ends = {"ci_low": low, "ci_high": high} if np.isfinite([low, high]).all() else {}
    reason = None if ends else "interval undefined: too few documents"
    reason = _SEEDS_ALONE if fixed and ends else reason
    return _row(names, metric, n=n, difference=difference, reason=reason, **ends)


def _replicates(sample: Sample) -> np.ndarray:
    """Resamples (B,) of a number; one that is counted on all documents is the same in each."""
    return np.full(1, sample.value) if sample.replicates is None else sample.replicates


def _row(
    names: Row,
    metric: str,
    *,
    n: int | None = None,
    difference: float | None = None,
    ci_low: float | None = None,
    ci_high: float | None = None,
    reason: str | None = None,
) -> Row:
    numbers = {"difference": difference, "ci_low": ci_low, "ci_high": ci_high}
    return {**names, "metric": metric, **numbers, "n": n, "reason": reason}
