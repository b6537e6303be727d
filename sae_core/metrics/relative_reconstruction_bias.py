"""By which factor reconstructions are too long or too short: shrinkage, apart from direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Reconstruction, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch


def _per_token(batch: Reconstruction) -> torch.Tensor:
    return columns(batch.x_hat.square().sum(1), (batch.x * batch.x_hat).sum(1))


def _values(totals: Any, setting: Setting) -> Values:
    return {"relative_reconstruction_bias": totals[..., 1] / totals[..., 2]}


METRIC = TokenMetric(
    definitions=(
        MetricDefinition(
            name="relative_reconstruction_bias",
            version=1,
            unit="ratio",
            better="neither",
            formula="γ = Σ_n ‖x̂‖² / Σ_n x·x̂",
            reference="Rajamanoharan et al., Improving Dictionary Learning with Gated SAEs "
            "(2024), arXiv 2404.16014",
            description="1/γ is the factor that would make reconstructions best; γ < 1 means "
            "that they are shrunk. n counts tokens.",
        ),
    ),
    of="reconstruction",
    per_token=_per_token,
    values=_values,
)
