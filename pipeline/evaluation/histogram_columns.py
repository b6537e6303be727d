"""Columns of `latents`: how strongly each latent fires when it fires."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow


def histogram_columns(tally: Mapping[str, np.ndarray] | None, f: int) -> dict[str, pyarrow.Array]:
    """Of each of f latents the bins from its first to its last that is not empty."""
    import pyarrow as pa

    if tally is None:
        return {
            "activation_counts": pa.nulls(f, pa.list_(pa.int64())),
            "activation_from": pa.nulls(f, pa.float64()),
        }
    counts = tally["counts"]
    silent = ~counts.any(1)
    first = counts.astype(bool).argmax(1)
    last = counts.shape[1] - 1 - counts[:, ::-1].astype(bool).argmax(1)
    lists = [
        None if none else row[a : b + 1].tolist()
        for row, a, b, none in zip(counts, first, last, silent, strict=True)
    ]
    lowest = float(tally["lowest"]) * 2.0 ** (first / 2)
    return {
        "activation_counts": pa.array(lists, pa.list_(pa.int64())),
        "activation_from": pa.array(lowest, pa.float64(), mask=silent),
    }
