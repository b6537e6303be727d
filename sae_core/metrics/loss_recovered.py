"""The share of an ablation's damage that the SAE undoes, as ratios of token means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Losses, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch

REFERENCE = "Bricken et al., Towards Monosemanticity (2023); Cunningham et al., arXiv 2309.08600"


def _per_token(batch: Losses) -> torch.Tensor:
    return columns(batch.clean, batch.spliced, batch.zero, batch.mean)


def _values(totals: Any, setting: Setting) -> Values:
    clean, spliced, zero, mean = (totals[..., i] for i in range(1, 5))
    return {
        "loss_recovered_zero": (zero - spliced) / (zero - clean),
        "loss_recovered_mean": (mean - spliced) / (mean - clean),
    }


def _reasons(totals: Any, replicates: Any, setting: Setting) -> Mapping[str, str]:
    from sae_core.bootstrap import interval

    reasons = {}
    for column, baseline in ((3, "zero"), (4, "mean")):
        cost = (replicates[:, column] - replicates[:, 1]) / replicates[:, 0]
        point = (totals[column] - totals[1]) / totals[0]
        low, high = interval(cost)
        if not (min(low, point) > 0 or max(high, point) < 0):
            reasons[f"loss_recovered_{baseline}"] = (
                f"{baseline} ablation changes the loss by {point:.3g} nats "
                f"(95 % interval {low:.3g} to {high:.3g}): a ratio to it means nothing"
            )
    return reasons


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
            "NULL where the interval of the denominator touches 0. n counts tokens."
        ),
    )


METRIC = TokenMetric(
    definitions=(_ratio("zero", "0"), _ratio("mean", "x̄")),
    of="losses",
    per_token=_per_token,
    values=_values,
    reasons=_reasons,
)
