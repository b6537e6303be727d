"""How many latents are active on a token, on average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Reconstruction, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch


def _per_token(batch: Reconstruction) -> torch.Tensor:
    return columns(batch.code.fired.sum(1))


def _values(totals: Any, setting: Setting) -> Values:
    return {"l0": totals[..., 1] / totals[..., 0]}


METRIC = TokenMetric(
    definitions=(
        MetricDefinition(
            name="l0",
            version=1,
            unit="latents per token",
            better="lower",
            formula="mean_n #{i : a_i > 0}",
            reference="Cunningham et al., arXiv 2309.08600",
            description="Active latents per token by the inference rule. n counts tokens.",
        ),
    ),
    of="reconstruction",
    per_token=_per_token,
    values=_values,
)
