"""Latents that never fire: on the evaluation tokens, and at the end of training."""

from __future__ import annotations

from collections.abc import Mapping

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.firing_metric import Firing, FiringMetric


def _values(firing: Firing) -> Mapping[str, Measured]:
    dead_eval = Measured(float((firing.n_fires == 0).mean()), n=firing.n_tokens)
    if firing.dead_train is None:
        dead_train = Measured(None, reason="training recorded no counters")
    else:
        dead_train = Measured(float(firing.dead_train.mean()), n=len(firing.dead_train))
    return {"dead_eval": dead_eval, "dead_train": dead_train}


METRIC = FiringMetric(
    definitions=(
        MetricDefinition(
            name="dead_eval",
            version=2,
            unit="share of latents",
            better="lower",
            formula="#{i : latent i fires on none of the n tokens} / f",
            reference="Karvonen et al., SAEBench (2025), arXiv 2503.09532",
            description="Share of latents silent on the held-out tokens; it depends on their "
            "number, which is n. It has no interval: leaving documents out can only raise it, so "
            "that resamples say nothing about its error.",
        ),
        MetricDefinition(
            name="dead_train",
            version=1,
            unit="share of latents",
            better="lower",
            formula="#{i : tokens since latent i last fired > dead window} / f, at the end of "
            "training; window = min(10 M tokens, 10 % of the budget) unless the recipe says so",
            reference="Gao et al. (2024), arXiv 2406.04093, window of 10 M tokens",
            description="Share of latents silent for the whole dead window when training ended. "
            "n counts latents.",
        ),
    ),
    values=_values,
    smooth=False,
)
