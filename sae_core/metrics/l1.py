"""How much activation a token's code holds, independent of the decoder's scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Reconstruction, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch


def _per_token(batch: Reconstruction) -> torch.Tensor:
    norms = batch.decoder_norms.double()[batch.code.indices]
    return columns((batch.code.values.double() * norms).sum(1))


def _values(totals: Any, setting: Setting) -> Values:
    return {"l1": totals[..., 1] / totals[..., 0]}


METRIC = TokenMetric(
    definitions=(
        MetricDefinition(
            name="l1",
            version=1,
            unit="activation",
            better="lower",
            formula="mean_n Σ_i a_i ‖d_i‖",
            reference="Conerly et al., Update on how we train SAEs (April 2024)",
            description="Activations weighted with their decoder rows' norms. n counts tokens.",
        ),
    ),
    of="reconstruction",
    per_token=_per_token,
    values=_values,
)
