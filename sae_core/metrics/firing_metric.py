"""Metrics that are functions of how often each latent fired on the evaluation tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sae_core.metrics.definition import Measured, MetricDefinition

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Firing:
    """`n_fires` (f,) tokens on which each latent fired, of `n_tokens`; the L0 histogram (f + 1,).

    `l0_histogram[j]` tokens had exactly j active latents; it may stop at the largest j seen.
    `dead_train` (f,) bool: silent for the whole dead window when training ended, None if unknown.
    """

    n_fires: np.ndarray
    n_tokens: int
    l0_histogram: np.ndarray
    dead_train: np.ndarray | None


@dataclass(frozen=True)
class FiringMetric:
    """A metric over latents; `values` gives each of its numbers, without interval.

    `smooth`: whether a number answers to every document a little, so that intervals from groups
    of documents mean something; a quantile of whole numbers and a count of what no document has
    do not.
    """

    definitions: tuple[MetricDefinition, ...]
    values: Callable[[Firing], Mapping[str, Measured]]
    smooth: bool = True
