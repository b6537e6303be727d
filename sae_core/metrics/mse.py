"""Squared error of the reconstruction, per token and per dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Reconstruction, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch


def _per_token(batch: Reconstruction) -> torch.Tensor:
    return columns(batch.squared_error, batch.squared_error / batch.x.shape[1])


def _values(totals: Any, setting: Setting) -> Values:
    return {
        "mse": totals[..., 1] / totals[..., 0],
        "mse_per_dim": totals[..., 2] / totals[..., 0],
    }


METRIC = TokenMetric(
    definitions=(
        MetricDefinition(
            name="mse",
            version=1,
            unit="squared activation",
            better="lower",
            formula="mean_n Σ_d (x − x̂)²",
            reference="Bricken et al., Towards Monosemanticity (2023)",
            description="Squared error per token, summed over dimensions. n counts tokens.",
        ),
        MetricDefinition(
            name="mse_per_dim",
            version=1,
            unit="squared activation",
            better="lower",
            formula="mean_n mean_d (x − x̂)²",
            reference="Gao et al. (2024), arXiv 2406.04093",
            description="Squared error per token and dimension. n counts tokens.",
        ),
    ),
    of="reconstruction",
    per_token=_per_token,
    values=_values,
)
