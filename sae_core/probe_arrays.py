"""Results of probes as named arrays, which are kept beside an SAE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sae_core.bootstrap import interval
from sae_core.detection import Detected
from sae_core.labelled_tokens import LabelledTokens
from sae_core.probing import KS, Probe

STATISTICS = ("auc", "balanced_accuracy", "f1")

ProbeKey = tuple[str, int | None]


def probe_arrays(probes: Sequence[Probe], text: LabelledTokens) -> dict[str, np.ndarray]:
    """One entry per probe (r,): its name, label, k, columns (r, 5), statistics and counts.

    What there is none of is −1, an empty text or NaN; `<statistic>_ci` (r, 2) are intervals over
    the resamples that hold both classes.
    """
    place = {name: i for i, name in enumerate(text.names)}
    at = np.array([place[probe.label] for probe in probes], dtype=np.int64)
    chosen = np.full((len(probes), max(KS)), -1, dtype=np.int64)
    for row, probe in enumerate(probes):
        chosen[row, : len(probe.columns)] = probe.columns
    test, labels = text.is_test, text.labels
    arrays = {
        "probe": np.array([probe.name for probe in probes], dtype=np.str_),
        "label": np.array([probe.label for probe in probes], dtype=np.str_),
        "is_xor": np.array(text.is_xor, dtype=bool)[at],
        "k": np.array([probe.k or -1 for probe in probes], dtype=np.int64),
        "columns": chosen,
        "reason": np.array([probe.reason or "" for probe in probes], dtype=np.str_),
        "n_positive_train": labels[~test].sum(0).numpy()[at],
        "n_positive_test": labels[test].sum(0).numpy()[at],
        "n_train": np.array(int((~test).sum())),
        "n_test": np.array(int(test.sum())),
        "n_documents": np.array(text.n_documents),
        "n_left_out": np.array(text.n_left_out),
    }
    several = text.resamples.shape[1] > 1
    for name in STATISTICS:
        values, ends = np.full(len(probes), np.nan), np.full((len(probes), 2), np.nan)
        for row, probe in enumerate(probes):
            if probe.detected is not None:
                values[row] = probe.detected[name].value
                if several:
                    replicates = probe.detected[name].replicates
                    ends[row] = interval(replicates[~np.isnan(replicates)])
        arrays |= {name: values, f"{name}_ci": ends}
    return arrays


def mean_arrays(
    probes: Sequence[Probe],
    text: LabelledTokens,
    numbers: Mapping[str, tuple[ProbeKey, ProbeKey | None]],
) -> dict[str, np.ndarray]:
    """`value/<number>`, `replicates/<number>` (B,) of mean AUCs, and `n_labels` behind them.

    A number is one probe's AUC, averaged over labels, less another's where one is named. Exclusive
    ors are left out, and labels that could not be probed. In a resample that lacks a class of a
    label, the mean is over the others.
    """
    known = {
        (probe.name, probe.k, probe.label): probe.detected["auc"]
        for probe in probes
        if probe.detected is not None
    }
    asked = {key for pair in numbers.values() for key in pair if key is not None}
    labels = [
        label
        for label, is_xor in zip(text.names, text.is_xor, strict=True)
        if not is_xor and all((*key, label) in known for key in asked)
    ]
    arrays = {"n_labels": np.array(len(labels))}
    if not labels:
        return arrays
    for number, (one, other) in numbers.items():
        mean = _mean([known[(*one, label)] for label in labels])
        value, replicates = mean.value, mean.replicates
        if other is not None:
            less = _mean([known[(*other, label)] for label in labels])
            value, replicates = value - less.value, replicates - less.replicates
        arrays[f"value/{number}"] = np.array(value)
        if text.resamples.shape[1] > 1 and not np.isnan(replicates).any():
            arrays[f"replicates/{number}"] = replicates
    return arrays


def _mean(detected: Sequence[Detected]) -> Detected:
    replicates = np.array([one.replicates for one in detected])
    known = ~np.isnan(replicates)
    with np.errstate(invalid="ignore"):  # 0 / 0 in a resample that lacks a class of every label
        mean = np.where(known, replicates, 0.0).sum(0) / known.sum(0)
    return Detected(float(np.mean([one.value for one in detected])), mean)
