"""Parts of Dagster that it calls beta, taken on purpose: no warning at every start."""

from __future__ import annotations

import warnings

import dagster as dg


def on_source() -> dg.PartitionMapping:
    """A cell needs the source of its own row and no other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.MultiToSingleDimensionPartitionMapping("source")
