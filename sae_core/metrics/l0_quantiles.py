"""How the number of active latents varies between tokens."""

from __future__ import annotations

from collections.abc import Mapping

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.firing_metric import Firing, FiringMetric

PERCENTS = (10, 50, 90)


def _values(firing: Firing) -> Mapping[str, Measured]:
    cumulative = firing.l0_histogram.cumsum()
    return {
        f"l0_p{percent}": Measured(
            float((cumulative * 100 < percent * firing.n_tokens).sum()), n=firing.n_tokens
        )
        for percent in PERCENTS
    }


METRIC = FiringMetric(
    definitions=tuple(
        MetricDefinition(
            name=f"l0_p{percent}",
            version=1,
            unit="latents per token",
            better="neither",
            formula=f"smallest j with #{{tokens of at most j active latents}} ≥ {percent} % of n",
            reference="Karvonen et al., SAEBench (2025), arXiv 2503.09532",
            description=f"{percent} % quantile over tokens of the active latents. n counts tokens.",
        )
        for percent in PERCENTS
    ),
    values=_values,
    smooth=False,
)
