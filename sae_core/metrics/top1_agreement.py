"""How often the spliced LM's first guess is the one of the clean LM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Losses, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch


def _per_token(batch: Losses) -> torch.Tensor:
    return columns(batch.same_top1)


def _values(totals: Any, setting: Setting) -> Values:
    return {"top1_agreement": totals[..., 1] / totals[..., 0]}


METRIC = TokenMetric(
    definitions=(
        MetricDefinition(
            name="top1_agreement",
            version=1,
            unit="share of predictions",
            better="higher",
            formula="mean_n [argmax_v p_clean(v) = argmax_v p_spliced(v)]",
            reference="Braun et al., Identifying Functionally Important Features with End-to-End "
            "Sparse Dictionary Learning (2024), arXiv 2405.12241, on matching the clean output",
            description="Share of predictions whose most likely token splicing leaves as it was. "
            "n counts tokens.",
        ),
    ),
    of="losses",
    per_token=_per_token,
    values=_values,
)
