"""How long reconstructions are beside the activations: shrinkage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Reconstruction, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch


def _per_token(batch: Reconstruction) -> torch.Tensor:
    return columns(batch.x_hat.norm(dim=1), batch.x.norm(dim=1))


def _values(totals: Any, setting: Setting) -> Values:
    return {"l2_ratio": totals[..., 1] / totals[..., 2]}


METRIC = TokenMetric(
    definitions=(
        MetricDefinition(
            name="l2_ratio",
            version=1,
            unit="ratio",
            better="neither",
            formula="Σ_n ‖x̂‖ / Σ_n ‖x‖",
            reference="Karvonen et al., SAEBench (2025), arXiv 2503.09532, there as a mean of "
            "ratios per token",
            description="Length of reconstructions beside activations: 1 means no shrinkage. "
            "n counts tokens.",
        ),
    ),
    of="reconstruction",
    per_token=_per_token,
    values=_values,
)
