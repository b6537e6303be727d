"""Latents that fire so often that they can hardly mean one thing."""

from __future__ import annotations

from collections.abc import Mapping

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.firing_metric import Firing, FiringMetric

PERCENTS = (1, 10)


def _values(firing: Firing) -> Mapping[str, Measured]:
    fires = max(int(firing.n_fires.sum()), 1)
    found = {}
    for percent in PERCENTS:
        above = firing.n_fires * 100 > firing.n_tokens * percent
        found[f"latents_above_{percent}pct"] = Measured(float(above.mean()), n=firing.n_tokens)
        mass = float(firing.n_fires[above].sum() / fires)
        found[f"fires_above_{percent}pct"] = Measured(mass, n=firing.n_tokens)
    return found


def _definitions(percent: int) -> tuple[MetricDefinition, MetricDefinition]:
    reference = "Rajamanoharan et al., Jumping Ahead (2024), arXiv 2407.14435"
    return (
        MetricDefinition(
            name=f"latents_above_{percent}pct",
            version=1,
            unit="share of latents",
            better="lower",
            formula=f"#{{i : p_i > {percent} %}} / f, p_i the share of tokens on which i fires",
            reference=reference,
            description=f"Share of latents that fire on more than {percent} % of the tokens. "
            "n counts tokens.",
        ),
        MetricDefinition(
            name=f"fires_above_{percent}pct",
            version=1,
            unit="share of firings",
            better="lower",
            formula=f"Σ_(i : p_i > {percent} %) p_i / Σ_i p_i",
            reference="Karvonen et al., SAEBench (2025), arXiv 2503.09532",
            description=f"Share of all firings that fall on latents which fire on more than "
            f"{percent} % of the tokens. n counts tokens.",
        ),
    )


METRIC = FiringMetric(
    definitions=tuple(definition for percent in PERCENTS for definition in _definitions(percent)),
    values=_values,
)
