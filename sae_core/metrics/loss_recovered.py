"""The share of an ablation's damage that the SAE undoes, as ratios of token means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Losses, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch

REFERENCE = "Bricken et al., Towards Monosemanticity (2023); Cunningham et al., arXiv 2309.08600"


# A random network can beat the uniform guess by accident, by a few parts in a thousand.
CHANCE = 0.99


def _per_token(batch: Losses) -> torch.Tensor:
    return columns(batch.clean, batch.spliced, batch.zero, batch.mean)


def _values(totals: Any, setting: Setting) -> Values:
    clean, spliced, zero, mean = (totals[..., i] for i in range(1, 5))
    return {
        "loss_recovered_zero": (zero - spliced) / (zero - clean),
        "loss_recovered_mean": (mean - spliced) / (mean - clean),
    }


def _reasons(totals: Any, replicates: Any, setting: Setting) -> Mapping[str, str]:
    names = {"zero": "loss_recovered_zero", "mean": "loss_recovered_mean"}
    clueless = without_clue(totals, replicates, setting)
    if clueless:
        return dict.fromkeys(names.values(), clueless)
    reasons = {}
    for column, baseline in ((3, "zero"), (4, "mean")):
        cost = (replicates[:, column] - replicates[:, 1]) / replicates[:, 0]
        point = (totals[column] - totals[1]) / totals[0]
        reason = no_loss(f"{baseline} ablation", point, *around(point, cost))
        if reason:
            reasons[names[baseline]] = reason
    return reasons


def no_loss(baseline: str, point: float, low: float, high: float) -> str | None:
    """Why nothing can be recovered where the baseline's cost in nats may be 0; else None."""
    if low > 0:
        return None
    return (
        f"{baseline} costs {point:.3g} nats (95 % interval {low:.3g} to {high:.3g}): "
        "there is no loss to recover"
    )


def without_clue(totals: Any, replicates: Any, setting: Setting) -> str | None:
    """Why nothing can be recovered where the LM is no better than chance; else None."""
    if setting.uniform_loss is None:
        return None
    point = totals[1] / totals[0]
    _, high = around(point, replicates[:, 1] / replicates[:, 0])
    if high < CHANCE * setting.uniform_loss:
        return None
    return (
        f"the language model predicts no better than chance (clean loss {point:.3f} nats, a "
        f"uniform guess {setting.uniform_loss:.3f}): there is no loss to recover"
    )


def around(point: float, replicates: Any) -> tuple[float, float]:
    """The interval, stretched to the value itself: with one document the resamples are equal."""
    from sae_core.bootstrap import interval

    low, high = interval(replicates)
    return min(float(low), float(point)), max(float(high), float(point))


def _ratio(baseline: str, letter: str) -> MetricDefinition:
    return MetricDefinition(
        name=f"loss_recovered_{baseline}",
        version=1,
        unit="share",
        better="higher",
        formula=f"(L({letter}) − L(x̂)) / (L({letter}) − L(x)), each a mean over tokens",
        reference=REFERENCE,
        description=(
            f"1 where splicing costs nothing, 0 where it costs as much as {baseline} ablation. "
            "NULL where there is no loss to recover: the interval of the denominator is not above "
            "0, or the LM's clean loss is not below 99 % of a uniform guess's. n counts tokens."
        ),
    )


METRIC = TokenMetric(
    definitions=(_ratio("zero", "0"), _ratio("mean", "x̄")),
    of="losses",
    per_token=_per_token,
    values=_values,
    reasons=_reasons,
)
