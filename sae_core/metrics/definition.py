"""What a metric is, as data: it fills a table in SQL and a page of the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MetricDefinition:
    """One number per SAE: its name, unit and formula; the version is raised when values change."""

    name: str
    version: int
    unit: str
    better: Literal["lower", "higher", "neither"]
    formula: str
    reference: str
    description: str


@dataclass(frozen=True)
class Measured:
    """A measured number with its 95 % interval, what it was counted on, and why it is missing.

    `value` None has a `reason`; an interval end may be None alone, then `reason` says why.
    `n` counts tokens, latents or pairs, as the definition says.
    """

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    n: int | None = None
    reason: str | None = None
