"""Which two labels' exclusive or is hardest for a linear probe, told by the labels alone."""

from __future__ import annotations

from itertools import combinations

import torch


def least_linear_pairs(labels: torch.Tensor, n_pairs: int) -> list[tuple[int, int]]:
    """The pairs of labels (n, L) bool whose exclusive or is least like either of the two.

    Pairs (a, b) in the order of max(|corr(a ⊕ b, a)|, |corr(a ⊕ b, b)|), the least first: near 0,
    no direction that tells a or b says anything about a ⊕ b. A pair that never differs or always
    does is left out, and no label stands in two pairs.
    Reference: Minsky and Papert, Perceptrons (1969).
    """
    if len(labels) < 2:
        return []
    values = labels.double()
    scored = []
    for a, b in combinations(range(labels.shape[1]), 2):
        both = (labels[:, a] ^ labels[:, b]).double()
        columns = torch.stack([both, values[:, a], values[:, b]])
        if (columns.std(1, correction=0) > 0).all():
            likeness = torch.corrcoef(columns)[0, 1:].abs().max()
            scored.append((round(float(likeness), 12), a, b))
    found: list[tuple[int, int]] = []
    used: set[int] = set()
    for _, a, b in sorted(scored):
        if len(found) < n_pairs and not used & {a, b}:
            found.append((a, b))
            used |= {a, b}
    return found
