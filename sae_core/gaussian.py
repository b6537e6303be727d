"""A Gaussian with the mean and covariance of given rows: activations without any structure else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Gaussian:
    """mean (d,) and root (d, d), the symmetric root of the covariance; both float64."""

    mean: torch.Tensor
    root: torch.Tensor

    def rows(self, standard: torch.Tensor) -> torch.Tensor:
        """x = mean + root · z for standard normal rows z (n, d), float64: rows of the Gaussian."""
        return self.mean + standard @ self.root


def matched_gaussian(blocks: Iterable[torch.Tensor]) -> Gaussian:
    """The Gaussian of rows that come in blocks (n, d), which may be of different lengths.

    cov = Σ (x − x̄)(x − x̄)ᵀ / n. In one pass, float64: each block is centred on its own mean, and
    what two means differ by is added, so that nothing large cancels. The root is unique even
    where eigenvalues coincide; directions without variance get none.
    Memory: 3 d² float64 numbers. Raises ValueError without rows.

    Reference: Chan, Golub and LeVeque, Algorithms for computing the sample variance (1983).
    """
    import torch

    n, mean, scatter = 0, None, None
    for block in blocks:
        if not len(block):
            continue
        x = block.double()
        own = x.mean(0)
        x = x - own
        if mean is None or scatter is None:
            n, mean, scatter = len(x), own, x.T @ x
            continue
        apart, total = own - mean, n + len(x)
        scatter += x.T @ x + torch.outer(apart, apart) * (n * len(x) / total)
        mean, n = mean + apart * (len(x) / total), total
    if mean is None or scatter is None:
        raise ValueError("a Gaussian needs rows to be matched with; none were given.")
    values, vectors = torch.linalg.eigh(scatter / n)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return Gaussian(mean, (root + root.T) / 2)
