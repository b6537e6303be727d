"""Which two labels' exclusive or is furthest from linear, told by the labels alone."""

from __future__ import annotations

from itertools import combinations

import torch


def least_linear_pairs(labels: torch.Tensor, n_pairs: int) -> list[tuple[int, int]]:
    """The pairs of labels (n, L) bool of whose exclusive or a, b and 1 explain least, linearly.

    Pairs (a, b) in the order of R² of a ⊕ b regressed on a and b, the least first. R² is 0 for
    independent labels of half the tokens each, 1 where one label implies the other or both never
    meet: their exclusive or is a difference or a sum. A pair that never differs or always does is
    left out, and no label stands in two pairs. Reference: Minsky and Papert, Perceptrons (1969).
    """
    scored = []
    for a, b in combinations(range(labels.shape[1]), 2):
        both = (labels[:, a] ^ labels[:, b]).double()
        if 0 < both.sum() < len(both):
            scored.append((_explained(both, labels[:, [a, b]].double()), a, b))
    found: list[tuple[int, int]] = []
    used: set[int] = set()
    for _, a, b in sorted(scored):
        if len(found) < n_pairs and not used & {a, b}:
            found.append((a, b))
            used |= {a, b}
    return found


def _explained(target: torch.Tensor, columns: torch.Tensor) -> float:
    """R² of target (n,) on columns (n, 2) and a constant, to 12 digits; they may be dependent."""
    y, x = target - target.mean(), columns - columns.mean(0)
    weights = torch.linalg.pinv(x.T @ x, hermitian=True, rtol=1e-10) @ (x.T @ y)
    return round(1.0 - float((y - x @ weights).square().sum() / y.square().sum()), 12)
