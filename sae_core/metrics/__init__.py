"""The metrics: every file beside this one that has a METRIC is found, so one file adds a metric.

Importing a metric's file is light (no torch), so that definitions can be listed at once.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.firing_metric import FiringMetric
from sae_core.metrics.match_metric import MatchMetric
from sae_core.metrics.tally_metric import TallyMetric
from sae_core.metrics.token_metric import TokenMetric

Metric = TokenMetric | FiringMetric | MatchMetric | TallyMetric

__all__ = ["Measured", "Metric", "MetricDefinition", "definitions", "metrics", "names"]


@cache
def metrics() -> dict[str, Metric]:
    """Every metric by the name of its file, sorted; one file may define several numbers."""
    found: dict[str, Metric] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        metric = getattr(importlib.import_module(f"{__name__}.{module.name}"), "METRIC", None)
        if metric is not None:
            found[module.name] = metric
    return found


def definitions() -> tuple[MetricDefinition, ...]:
    """The definition of every number, sorted by name."""
    every = [definition for metric in metrics().values() for definition in metric.definitions]
    return tuple(sorted(every, key=lambda definition: definition.name))


def names() -> list[str]:
    """The name of every number, sorted."""
    return [definition.name for definition in definitions()]
