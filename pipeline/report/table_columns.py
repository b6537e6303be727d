"""Columns of an Arrow table as numpy arrays, with one value for what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.report.packed import NO_INDEX

if TYPE_CHECKING:
    import pyarrow


def floats(rows: pyarrow.Table, name: str) -> np.ndarray:
    """A column of numbers; NaN for what is missing."""
    return rows.column(name).cast("double").fill_null(np.nan).to_numpy(zero_copy_only=False)


def integers(rows: pyarrow.Table, name: str) -> np.ndarray:
    """A column of integers or truth values; −1 for what is missing."""
    return rows.column(name).cast("int64").fill_null(NO_INDEX).to_numpy(zero_copy_only=False)


def lists(rows: pyarrow.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A column of lists: how long each is, 0 for a missing one; and all their values in a row."""
    column = rows.column(name).combine_chunks()
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return lengths.astype(np.int64), column.flatten().to_numpy(zero_copy_only=False)
