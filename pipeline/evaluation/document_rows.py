"""Rows of `document_sums`: what every mean and ratio is made of, document by document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.rows import repeated
from pipeline.evaluation.tables import DocumentTables

if TYPE_CHECKING:
    import pyarrow

# Column of the table -> the metric file whose sums hold it, and where in them.
_SUMS = {
    "n_predictions": ("cross_entropy", 0),
    "ce_clean": ("cross_entropy", 1),
    "ce_spliced": ("cross_entropy", 2),
    "ce_zero": ("cross_entropy", 3),
    "ce_mean": ("cross_entropy", 4),
    "ce_unigram": ("unigram", 3),
    "kl": ("kl", 1),
    "n_same_top1": ("top1_agreement", 1),
    "n_tokens": ("mse", 0),
    "squared_error": ("mse", 1),
    "n_active": ("l0", 1),
}
_COUNTS = {"n_predictions", "n_tokens", "n_same_top1", "n_active"}


def document_rows(evaluation: Evaluation, found: DocumentTables) -> pyarrow.Table:
    """One row per held-out document that has a measured token or a scored prediction."""
    import pyarrow as pa

    sums = {
        name: found.tables[metric][:, at]
        for name, (metric, at) in _SUMS.items()
        if metric in found.tables
    }
    counts = [sums[name] for name in ("n_predictions", "n_tokens") if name in sums]
    seen = np.any([count > 0 for count in counts], axis=0)
    columns = {}
    for name in _SUMS:
        kind = np.int64 if name in _COUNTS else np.float64
        # No sums: a metric that does not apply, such as losses of drawn activations.
        values = sums[name][seen].astype(kind) if name in sums else None
        missing = pa.nulls(int(seen.sum()), pa.from_numpy_dtype(kind))
        columns[name] = missing if values is None else pa.array(values)
    document = pa.array(found.documents[seen], pa.int64())
    return pa.table({**repeated(evaluation, int(seen.sum())), "document": document, **columns})
