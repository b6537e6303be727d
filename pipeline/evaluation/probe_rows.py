"""Rows of `probes`: what k latents say of labelled tokens, and what stands beside it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.rows import Row
from pipeline.evaluation.tables import DocumentTables
from sae_core.probe_arrays import STATISTICS

_COUNTS = ("n_train", "n_test", "n_documents", "n_left_out")


def probe_rows(evaluation: Evaluation, found: DocumentTables) -> Iterator[Row]:
    """A row per probe, label and k; none where the text was not labelled."""
    tally = found.tallies.get("sparse_probing")
    if not tally:
        return
    names = {name: getattr(evaluation, name) for name in ("sae", "sae_hash", "evaluation_hash")}
    counts = {name: int(tally[name]) for name in _COUNTS}
    for i in range(len(tally["probe"])):
        chosen = [int(column) for column in tally["columns"][i] if column >= 0]
        row: Row = {
            **names,
            "probe": str(tally["probe"][i]),
            "label": str(tally["label"][i]),
            "is_xor": bool(tally["is_xor"][i]),
            "k": int(tally["k"][i]) if tally["k"][i] > 0 else None,
            "chosen": chosen or None,
            "n_positive_train": int(tally["n_positive_train"][i]),
            "n_positive_test": int(tally["n_positive_test"][i]),
            **counts,
            "reason": str(tally["reason"][i]) or None,
        }
        for name in STATISTICS:
            low, high = tally[f"{name}_ci"][i]
            row[name] = _known(tally[name][i])
            row[f"{name}_ci_low"], row[f"{name}_ci_high"] = _known(low), _known(high)
        yield row | {"reason": row["reason"] or _no_interval(row)}


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _no_interval(row: Row) -> str | None:
    missing = row["auc"] is not None and row["auc_ci_low"] is None
    return "interval undefined: a class stands in too few probe-test documents" if missing else None
