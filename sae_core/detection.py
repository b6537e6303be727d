"""How well scores tell a label's tokens from the others: AUC, balanced accuracy, F1, resampled.

Tokens lie in G clusters (documents), which are what a bootstrap draws. Everything is kept as counts
per cluster or pair of clusters, so that a resample of clusters costs a small product and is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Detected:
    """A statistic of the scores: its value, and its values (B,) under the resamples."""

    value: float
    replicates: np.ndarray


def detection(
    scores: torch.Tensor,
    positive: torch.Tensor,
    *,
    threshold: float,
    clusters: torch.Tensor,
    resamples: np.ndarray,
) -> dict[str, Detected]:
    """`auc`, `balanced_accuracy` and `f1` of scores (n,) for labels (n,) bool.

    `clusters` (n,) int64 in [0, G); `resamples` (B, G) how often each cluster is drawn. A token is
    called positive where its score is above the threshold. NaN in a resample that lacks a class.
    AUC = P(s₊ > s₋) + ½ P(s₊ = s₋) over pairs; balanced accuracy = ½ (recall + specificity); F1 =
    2 TP / (2 TP + FP + FN). Reference: Hanley and McNeil, The meaning and use of the area under a
    ROC curve (1982).
    """
    n_clusters = resamples.shape[1]
    counts = np.concatenate([np.ones((1, n_clusters)), resamples])
    wins = wins_by_cluster(scores, positive, clusters, n_clusters).numpy()
    table = _confusion(scores > threshold, positive, clusters, n_clusters).numpy()
    hit, miss, alarm, quiet = (counts @ table).T
    with np.errstate(all="ignore"):
        found = {
            "auc": ((counts @ wins) * counts).sum(1) / ((hit + miss) * (alarm + quiet)),
            "balanced_accuracy": 0.5 * (hit / (hit + miss) + quiet / (alarm + quiet)),
            "f1": 2.0 * hit / (2.0 * hit + alarm + miss),
        }
    return {name: Detected(float(values[0]), values[1:]) for name, values in found.items()}


def wins_by_cluster(
    scores: torch.Tensor, positive: torch.Tensor, clusters: torch.Tensor, n_clusters: int
) -> torch.Tensor:
    """(G, G) float64: at (g, h) pairs of a positive in g that outscores a negative in h, ties ½."""
    ranks, rank = scores.unique(return_inverse=True)
    # Of each rank and cluster: negatives below that rank, and half of those at it.
    below = torch.zeros(len(ranks), n_clusters, dtype=torch.float64)
    flat = rank[~positive] * n_clusters + clusters[~positive]
    below.view(-1).index_add_(0, flat, torch.ones(len(flat), dtype=torch.float64))
    below = below.cumsum(0).sub_(below, alpha=0.5)
    found = torch.zeros(n_clusters, n_clusters, dtype=torch.float64)
    return found.index_add_(0, clusters[positive], below[rank[positive]])


def best_threshold(scores: torch.Tensor, positive: torch.Tensor) -> float:
    """The score above which a token is to be called positive for the largest balanced accuracy.

    Midway between two scores that occur, or −∞; the lowest of equally good ones. Raises ValueError
    where a class is missing.
    """
    n_positive = int(positive.sum())
    if n_positive in (0, len(positive)):
        raise ValueError(
            f"best_threshold got {n_positive} positive of {len(positive)} tokens: a threshold "
            "needs both classes. Leave the label out."
        )
    levels, rank = scores.double().unique(return_inverse=True)
    hits = torch.bincount(rank[positive], minlength=len(levels)).double() / n_positive
    alarms = torch.bincount(rank[~positive], minlength=len(levels)).double()
    alarms /= len(positive) - n_positive
    # At place i: the threshold lies just above level i − 1, so levels i and higher are positive.
    gain = torch.cat([torch.zeros(1, dtype=torch.float64), (alarms - hits).cumsum(0)])[:-1]
    place = int((gain >= gain.max() - 1e-12).nonzero()[0])
    if place == 0:
        return float("-inf")
    return float((levels[place - 1] + levels[place]) / 2.0)


def _confusion(
    called: torch.Tensor, positive: torch.Tensor, clusters: torch.Tensor, n_clusters: int
) -> torch.Tensor:
    """Hits, misses, false alarms and rightly quiet tokens of each cluster, (G, 4) float64."""
    kind = torch.where(positive, (~called).long(), 3 - called.long())
    return torch.bincount(clusters * 4 + kind, minlength=4 * n_clusters).view(-1, 4).double()
