"""Columns that a probe may read: a code's latents, or the coordinates of activations.

Both say how each column goes with each label, and give single columns whole; the (n, f) matrix of a
code is never made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

_BLOCK = 4096


class Columns(Protocol):
    """c columns of n tokens."""

    def correlations(self, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Pearson correlations (c, L) of columns and labels (n, L) bool on tokens `rows` (n,) bool.

        0 where a column or a label does not vary.
        """

    def pick(self, indices: torch.Tensor) -> torch.Tensor:
        """Columns `indices` (m,) as (n, m) float64."""


@dataclass(frozen=True)
class SparseColumns:
    """Activations: entry e is `values[e]` > 0 of latent `latents[e]` at token `tokens[e]`."""

    tokens: torch.Tensor
    latents: torch.Tensor
    values: torch.Tensor
    n_tokens: int
    n_latents: int

    def correlations(self, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        here = rows[self.tokens]
        tokens, latents = self.tokens[here].long(), self.latents[here].long()
        values = self.values[here].double().unsqueeze(1)
        sums = torch.zeros(self.n_latents, 2, dtype=torch.float64)
        sums.index_add_(0, latents, torch.cat([values, values.square()], 1))
        with_label = torch.zeros(self.n_latents, labels.shape[1], dtype=torch.float64)
        for start in range(0, len(tokens), 64 * _BLOCK):
            part = slice(start, start + 64 * _BLOCK)
            with_label.index_add_(0, latents[part], values[part] * labels[tokens[part]])
        return _correlations(sums, with_label, labels[rows])

    def pick(self, indices: torch.Tensor) -> torch.Tensor:
        place = torch.full((self.n_latents,), -1, dtype=torch.int64)
        place[indices] = torch.arange(len(indices))
        at = place[self.latents.long()]
        here = at >= 0
        found = torch.zeros(self.n_tokens, len(indices), dtype=torch.float64)
        found[self.tokens[here].long(), at[here]] = self.values[here].double()
        return found


@dataclass(frozen=True)
class DenseColumns:
    """The coordinates of activations `x` (n, d)."""

    x: torch.Tensor

    def correlations(self, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        d = self.x.shape[1]
        sums = torch.zeros(d, 2, dtype=torch.float64)
        with_label = torch.zeros(d, labels.shape[1], dtype=torch.float64)
        for chosen in rows.nonzero().squeeze(1).split(_BLOCK):
            part = self.x[chosen].double()
            sums += torch.stack([part.sum(0), part.square().sum(0)], 1)
            with_label += part.T @ labels[chosen].double()
        return _correlations(sums, with_label, labels[rows])

    def pick(self, indices: torch.Tensor) -> torch.Tensor:
        return self.x[:, indices].double()


def strongest(correlations: torch.Tensor, k: int) -> torch.Tensor:
    """The k columns of largest |correlation| with each label, (L, k); equal ones: lowest first."""
    return correlations.abs().T.argsort(dim=1, descending=True, stable=True)[:, :k]


def _correlations(
    sums: torch.Tensor, with_label: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Of Σ a, Σ a² (c, 2) and Σ a y (c, L); labels (n, L)."""
    n = len(labels)
    share = labels.double().mean(0)
    mean, square = (sums / n).unbind(1)
    variance = (square - mean.square()).clamp_min(0)
    # What rounding leaves of a constant column is no variance.
    variance = torch.where(variance > 1e-12 * square, variance, torch.zeros_like(variance))
    scale = (variance.unsqueeze(1) * share * (1 - share)).sqrt()
    covariance = with_label / n - mean.unsqueeze(1) * share
    return torch.where(scale > 0, covariance / scale, torch.zeros_like(scale))
