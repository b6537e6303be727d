"""How well the reconstruction points where the activation points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Reconstruction, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch


def _per_token(batch: Reconstruction) -> torch.Tensor:
    product = (batch.x * batch.x_hat).sum(1)
    norms = batch.x.norm(dim=1) * batch.x_hat.norm(dim=1)
    return columns((product / norms).nan_to_num(nan=0.0).where(norms > 0, product * 0))


def _values(totals: Any, setting: Setting) -> Values:
    return {"cosine": totals[..., 1] / totals[..., 0]}


METRIC = TokenMetric(
    definitions=(
        MetricDefinition(
            name="cosine",
            version=1,
            unit="cosine",
            better="higher",
            formula="mean_n x·x̂ / (‖x‖ ‖x̂‖)",
            reference="Karvonen et al., SAEBench (2025), arXiv 2503.09532",
            description="Cosine of activation and reconstruction, 0 where either is the zero "
            "vector. n counts tokens.",
        ),
    ),
    of="reconstruction",
    per_token=_per_token,
    values=_values,
)
