"""Next-token loss of the LM: clean, with the SAE spliced in, and under two ablations.

Special tokens are never edited and predictions of or from them are not scored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Losses, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch

REFERENCE = "Bricken et al., Towards Monosemanticity (2023)"


def _loss(name: str, formula: str, description: str) -> MetricDefinition:
    return MetricDefinition(
        name, 1, "nats per token", "lower", formula, REFERENCE, f"{description} n counts tokens."
    )


def _per_token(batch: Losses) -> torch.Tensor:
    return columns(batch.clean, batch.spliced, batch.zero, batch.mean)


def _values(totals: Any, setting: Setting) -> Values:
    n = totals[..., 0]
    clean, spliced, zero, mean = (totals[..., i] / n for i in range(1, 5))
    return {
        "ce_clean": clean,
        "ce_spliced": spliced,
        "ce_zero": zero,
        "ce_mean": mean,
        "ce_increase_nats": spliced - clean,
    }


METRIC = TokenMetric(
    definitions=(
        _loss(
            "ce_clean",
            "mean_n L(x)",
            "Loss of the LM as it is, on the text it reads: for weights `shuffled_text` that is "
            "shuffled text.",
        ),
        _loss("ce_spliced", "mean_n L(x̂)", "Loss with reconstructions in place of activations."),
        _loss("ce_zero", "mean_n L(0)", "Loss with activations replaced by zero."),
        _loss("ce_mean", "mean_n L(x̄)", "Loss with activations replaced by the calibration mean."),
        _loss(
            "ce_increase_nats",
            "mean_n (L(x̂) − L(x))",
            "What splicing the SAE in costs the LM: 0 is perfect.",
        ),
    ),
    of="losses",
    per_token=_per_token,
    values=_values,
)
