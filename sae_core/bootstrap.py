"""Intervals by resampling: over documents, or over seeds and then documents.

Every draw is keyed by a seed, so an interval is the same on every machine and at every call.
Sums per document make a resample one matrix product: totals (B, c) = counts (B, D) @ table (D, c).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEVEL = 0.95


def resample_counts(n_documents: int, n_resamples: int, *, seed: int) -> np.ndarray:
    """How often each document enters each resample, (B, D) float64; every row sums to D.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 6.
    """
    if n_documents < 1 or n_resamples < 1:
        raise ValueError(
            f"resample_counts({n_documents} documents, {n_resamples} resamples): both must be "
            "at least 1. Evaluate on more tokens or ask for more resamples."
        )
    shares = np.full(n_documents, 1.0 / n_documents)
    counts = _generator(seed, 0).multinomial(n_documents, shares, size=n_resamples)
    return counts.astype(np.float64)


def interval(replicates: np.ndarray, *, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """The percentile interval of replicates (B, ...): two arrays (...), low and high.

    The ends are replicates themselves (no interpolation), taken outwards, so that infinite
    replicates give an infinite end and not an undefined one; NaN anywhere gives NaN.
    Reference: Efron and Tibshirani (1993), section 13.3.
    """
    tail = (1.0 - level) / 2.0
    low = np.quantile(replicates, tail, axis=0, method="lower")
    high = np.quantile(replicates, 1.0 - tail, axis=0, method="higher")
    undefined = np.isnan(replicates).any(axis=0)
    return np.where(undefined, np.nan, low), np.where(undefined, np.nan, high)


def seed_weights(
    group_sizes: Sequence[int], n_resamples: int, *, seed: int, stream: int
) -> np.ndarray:
    """Weights (B, S) of S seeds that lie in groups, resampled group first, then seed within group.

    `group_sizes` says how many seeds each group has (S is their sum; the seeds are listed group by
    group). Rows sum to 1. One group means that only its seeds are resampled. `stream` separates
    draws that must be independent (the two sides of a comparison).
    Reference: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
    """
    draw = _generator(seed, stream)
    sizes = np.asarray(group_sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    weights = np.zeros((n_resamples, int(sizes.sum())))
    every = np.arange(n_resamples)
    for _ in sizes:
        group = draw.integers(len(sizes), size=n_resamples)
        for position in range(int(sizes.max())):
            inside = position < sizes[group]
            chosen = starts[group] + draw.integers(sizes[group])
            share = inside / (sizes[group] * len(sizes))
            weights[every, chosen] += share
    return weights


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, stream]))
