"""How far the spliced LM's predictions are from the clean ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Losses, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch


def _per_token(batch: Losses) -> torch.Tensor:
    return columns(batch.kl)


def _values(totals: Any, setting: Setting) -> Values:
    return {"kl_nats": totals[..., 1] / totals[..., 0]}


METRIC = TokenMetric(
    definitions=(
        MetricDefinition(
            name="kl_nats",
            version=1,
            unit="nats per token",
            better="lower",
            formula="mean_n Σ_v p_clean(v) (log p_clean(v) − log p_spliced(v))",
            reference="Karvonen et al., SAEBench (2025), arXiv 2503.09532",
            description="KL divergence from clean to spliced predictions. n counts tokens.",
        ),
    ),
    of="losses",
    per_token=_per_token,
    values=_values,
)
