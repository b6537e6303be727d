"""Metrics that are functions of how an SAE's dictionary matches other dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sae_core.metrics.definition import Measured, MetricDefinition

SHARED_AT = (0.5, 0.7, 0.9)
SHARED = 0.7
Pair = Literal["other_seed", "other_weights", "other_width", "requested"]


@dataclass(frozen=True)
class MatchSeen:
    """One match from the SAE's side: MMCS from it to the other, over living latents.

    `shared`: one-to-one pairs of cosine ≥ 0.7 over the living latents of the side that has fewer.
    `other_variant` is the other's weights variant without its seed: `trained`, `random`, ...
    `correlation`: mean over living latents of the correlation of their activation with their best
    match's, on common tokens.
    """

    pair: Pair
    mmcs: float | None
    other_variant: str
    shared: float | None
    correlation: float | None = None


@dataclass(frozen=True)
class MatchMetric:
    """A metric over matches; it may be asked again whenever another match becomes known.

    `values(variant, matches)`: `variant` is the SAE's own weights variant.
    """

    definitions: tuple[MetricDefinition, ...]
    values: Callable[[str, Sequence[MatchSeen]], Mapping[str, Measured]]
