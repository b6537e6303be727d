"""The share of its pre-training compute at which the LM was as good as it is with the SAE in it.

The curve's losses were measured on the text of the model's card. Here only its shape is used: the
measured clean loss is taken for the curve's last point, so the spliced loss stands at the curve's
last loss plus the measured increase. Between points, log FLOPs are linear in the loss. Nothing is
said outside the curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import Losses, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch


def _per_token(batch: Losses) -> torch.Tensor:
    return columns(batch.clean, batch.spliced)


def _increase(totals: Any) -> Any:
    return (totals[..., 2] - totals[..., 1]) / totals[..., 0]


def _values(totals: Any, setting: Setting) -> Values:
    import numpy as np

    increase = _increase(totals)
    if setting.curve is None:
        return {"compute_recovered": np.full_like(increase, np.nan)}
    return {"compute_recovered": setting.curve.share_at(increase)}


def _reasons(totals: Any, replicates: Any, setting: Setting) -> Mapping[str, str]:
    import numpy as np

    if setting.curve is None:
        return {"compute_recovered": setting.no_curve}
    share = float(setting.curve.share_at(_increase(totals)))
    if share == -np.inf:
        return {
            "compute_recovered": "beyond the curve: the spliced loss is above its first point, "
            f"{setting.curve.first_share:.3g} of the compute"
        }
    if share == np.inf:
        return {"compute_recovered": "beyond the curve: the spliced loss is below the clean loss"}
    shares = setting.curve.share_at(_increase(replicates))
    if not np.isfinite(shares).all():
        return {"compute_recovered": "interval reaches beyond the curve"}
    return {}


METRIC = TokenMetric(
    definitions=(
        MetricDefinition(
            name="compute_recovered",
            version=1,
            unit="share",
            better="higher",
            formula="C(L_last + ce_increase_nats) / C(L_last), C: annealed pre-training curve, "
            "log FLOPs linear in loss between points",
            reference="Gao et al., Scaling and evaluating sparse autoencoders (2024), "
            "arXiv 2406.04093, downstream loss",
            description=(
                "Share of the LM's pre-training compute at which its own annealed loss curve "
                "reaches the spliced loss; the measured clean loss stands for the curve's last "
                "point. NULL beyond the curve, without one, and for weights that were not "
                "trained. An interval end beyond the curve is NULL. Nothing is extrapolated: the "
                "smallest share it can give is the curve's first point's. A curve of checkpoints "
                "that were not annealed overstates it, and between distant points it is the "
                "interpolation's. n counts tokens."
            ),
        ),
    ),
    of="losses",
    per_token=_per_token,
    values=_values,
    reasons=_reasons,
)
