"""The fraction of the activations' variance that the reconstruction leaves unexplained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Reconstruction, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch


def _per_token(batch: Reconstruction) -> torch.Tensor:
    centered = batch.x - batch.center
    return columns(batch.squared_error, centered.square().sum(1), centered)


def _values(totals: Any, setting: Setting) -> Values:
    n, error, square, sums = totals[..., 0], totals[..., 1], totals[..., 2], totals[..., 3:]
    return {"fvu": error / (square - (sums * sums).sum(-1) / n)}


METRIC = TokenMetric(
    definitions=(
        MetricDefinition(
            name="fvu",
            version=1,
            unit="share",
            better="lower",
            formula="Σ_n ‖x − x̂‖² / Σ_n ‖x − x̄‖², x̄ the mean of the evaluation tokens",
            reference="Gao et al. (2024), arXiv 2406.04093; explained variance is 1 − FVU",
            description=(
                "Fraction of variance unexplained, with one global mean and sums in float64: "
                "0 is perfect, 1 is as good as the mean. Averages of ratios per token, or "
                "variances of the error, are other numbers. n counts tokens."
            ),
        ),
    ),
    of="reconstruction",
    per_token=_per_token,
    values=_values,
)
