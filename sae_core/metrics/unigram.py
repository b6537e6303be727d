"""Loss recovered above what token frequencies alone predict: a baseline that knows no context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.loss_recovered import around, no_loss, without_clue
from sae_core.metrics.token_metric import Losses, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch

REFERENCE = "Bricken et al., Towards Monosemanticity (2023), loss recovered, with another baseline"


def _per_token(batch: Losses) -> torch.Tensor:
    return columns(batch.clean, batch.spliced, batch.unigram)


def _values(totals: Any, setting: Setting) -> Values:
    n, clean, spliced, unigram = (totals[..., i] for i in range(4))
    return {
        "ce_unigram": unigram / n,
        "loss_recovered_unigram": (unigram - spliced) / (unigram - clean),
    }


def _reasons(totals: Any, replicates: Any, setting: Setting) -> Mapping[str, str]:
    reason = without_clue(totals, replicates, setting)
    if reason is None:
        cost = (replicates[:, 3] - replicates[:, 1]) / replicates[:, 0]
        point = (totals[3] - totals[1]) / totals[0]
        low, high = around(point, cost)
        reason = no_loss("the unigram baseline", point, low, high)
    return {"loss_recovered_unigram": reason} if reason else {}


METRIC = TokenMetric(
    definitions=(
        MetricDefinition(
            name="ce_unigram",
            version=1,
            unit="nats per token",
            better="neither",
            formula="mean_n −ln p(x_(n+1)), p(v) = (c_v + 1) / (Σ c + V), c counted on train text",
            reference=REFERENCE,
            description="Loss of token frequencies alone: what knowing no context costs. "
            "n counts tokens.",
        ),
        MetricDefinition(
            name="loss_recovered_unigram",
            version=1,
            unit="share",
            better="higher",
            formula="(L_unigram − L(x̂)) / (L_unigram − L(x)), each a mean over tokens",
            reference=REFERENCE,
            description="1 where splicing costs nothing, 0 where the spliced LM is as good as "
            "token frequencies; below 0 where it is worse. Zero ablation can cost far more than "
            "knowing nothing, which flatters loss_recovered_zero. NULL as loss_recovered_zero is. "
            "n counts tokens.",
        ),
    ),
    of="losses",
    per_token=_per_token,
    values=_values,
    reasons=_reasons,
)
