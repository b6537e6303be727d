"""Rows of `frequency_cuts` and `progressive_code`: what is left of an SAE with fewer latents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.measuring import no_losses
from pipeline.evaluation.rows import Row
from pipeline.evaluation.tables import DocumentTables
from sae_core.bootstrap import interval, resample_counts
from sae_core.metrics import metrics
from sae_core.metrics.frequency_cuts import STATED
from sae_core.metrics.token_metric import TokenMetric

MOST_CUTS = 500
_NO_LOSS = {
    "ce_spliced": None,
    "ce_increase_nats": None,
    "loss_recovered_zero": None,
    "loss_recovered_zero_ci_low": None,
    "loss_recovered_zero_ci_high": None,
    "n_predictions": None,
    "reason": None,
}


class _Resampled:
    """The documents' resamples (B, D), and the variance that an FVU is a share of."""

    def __init__(self, evaluation: Evaluation, found: DocumentTables) -> None:
        settings = evaluation.cell.evaluation
        n = len(found.documents)
        self.setting = evaluation.setting
        self.counts = resample_counts(n, settings.bootstrap, seed=settings.bootstrap_seed)
        self.several = n > 1
        table = found.tables["fvu"]
        self.variance = _variance(table.sum(0))
        self.variances = _variance(self.counts @ table)

    def fvu(self, errors: np.ndarray) -> Row:
        """FVU with its interval from errors (D,)."""
        replicates = (self.counts @ errors) / self.variances
        return _with_ends("fvu", float(errors.sum() / self.variance), replicates, self.several)

    def losses(self, table: np.ndarray) -> Row:
        """Losses from sums (D, 1 + 3) of clean, spliced and zero-ablated loss."""
        whole = np.concatenate([table, table[:, 3:]], axis=1)  # no mean ablation here: unread
        metric = metrics()["loss_recovered"]
        assert isinstance(metric, TokenMetric)
        totals, replicates = whole.sum(0), self.counts @ whole
        n, clean, spliced, _ = table.sum(0)
        with np.errstate(all="ignore"):
            share = metric.values(totals, self.setting)["loss_recovered_zero"]
            shares = metric.values(replicates, self.setting)["loss_recovered_zero"]
            reason = metric.reasons(totals, replicates, self.setting).get("loss_recovered_zero")
        known = reason is None and bool(np.isfinite(share))
        ends = _with_ends("loss_recovered_zero", float(share), shares, self.several and known)
        return {
            "ce_spliced": float(spliced / n),
            "ce_increase_nats": float((spliced - clean) / n),
            **ends,
            "loss_recovered_zero": float(share) if known else None,
            "n_predictions": int(n),
            "reason": reason,
        }


def _variance(totals: np.ndarray) -> np.ndarray:
    """Σ‖x − x̄‖² from the sums of the metric `fvu`: count, error, square, sum of x − c."""
    return totals[..., 2] - (totals[..., 3:] ** 2).sum(-1) / totals[..., 0]


def _with_ends(name: str, value: float, replicates: np.ndarray, known: bool) -> Row:
    low, high = interval(np.asarray(replicates)) if known else (np.nan, np.nan)
    ends = {"low": float(low), "high": float(high)}
    found: Row = {name: value}
    return found | {f"{name}_ci_{k}": end if np.isfinite(end) else None for k, end in ends.items()}


def _names(evaluation: Evaluation) -> Row:
    return {name: getattr(evaluation, name) for name in ("sae", "sae_hash", "evaluation_hash")}


def frequency_cut_rows(evaluation: Evaluation, found: DocumentTables) -> Iterator[Row]:
    """The stated cuts with intervals and losses, and every other cut that changes something."""
    tally = found.tallies["frequency_cuts"]
    resampled, names = _Resampled(evaluation, found), _names(evaluation)
    n = int(tally["n_tokens"])
    order = np.argsort(tally["frequency"], kind="stable")
    frequency = tally["frequency"][order]
    errors = float(tally["empty_error"]) + np.cumsum(np.r_[0.0, tally["steps"][order]])
    fires = np.cumsum(np.r_[0.0, tally["fires"][order]])
    missing: Row = {**_NO_LOSS, "reason": no_losses(evaluation.cell)}
    losses = missing
    for cut, tau in enumerate(STATED):
        kept = int(np.searchsorted(frequency, tau, side="right"))
        table = tally.get(f"losses/{tau}")
        # A cut that drops nothing more than the one above it was not spliced in again.
        losses = losses if table is None else resampled.losses(table)
        common = {"tau": tau, "is_stated": True, "n_dropped": len(order) - kept}
        fvu = resampled.fvu(tally["documents"][cut, :, 0])
        yield {**names, **common, **fvu, "l0": float(fires[kept] / n), "n_tokens": n, **losses}
    for tau in _levels(frequency):
        kept = int(np.searchsorted(frequency, tau, side="right"))
        common = {"tau": tau, "is_stated": False, "n_dropped": len(order) - kept}
        fvu = {"fvu": float(errors[kept] / resampled.variance)}
        ends = {"fvu_ci_low": None, "fvu_ci_high": None}
        l0 = float(fires[kept] / n)
        yield {**names, **common, **fvu, **ends, "l0": l0, "n_tokens": n, **missing}


def _levels(frequency: np.ndarray) -> list[float]:
    """The frequencies at which a cut changes, and 0; evenly thinned where there are many."""
    levels = np.unique(np.r_[0.0, frequency])
    at = np.linspace(0, len(levels) - 1, min(MOST_CUTS, len(levels))).round().astype(int)
    return [float(tau) for tau in levels[at] if tau not in STATED]


def progressive_rows(evaluation: Evaluation, found: DocumentTables) -> Iterator[Row]:
    """A row for every number of latents kept, with losses at powers of two."""
    tally = found.tallies["progressive_code"]
    resampled, names = _Resampled(evaluation, found), _names(evaluation)
    n = found.latents.n_tokens
    widest = tally["errors"].shape[1] - 1
    losses = _by_kept(tally, widest)
    missing: Row = {**_NO_LOSS, "reason": no_losses(evaluation.cell)}
    for k in range(widest + 1):
        fvu = resampled.fvu(tally["errors"][:, k])
        l0 = float(tally["active"][:, k].sum() / n)
        measured = resampled.losses(losses[k]) if k in losses else missing
        yield {**names, "k": k, **fvu, "l0": l0, "n_tokens": n, **measured}


def _by_kept(tally: Mapping[str, np.ndarray], widest: int) -> dict[int, np.ndarray]:
    """Losses by the latents kept; the last power of two may be more than any token has."""
    prefix = "losses/"
    return {
        min(int(name[len(prefix) :]), widest): table
        for name, table in tally.items()
        if name.startswith(prefix)
    }
