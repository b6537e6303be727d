"""Activations whose directions are known: a ground truth to recover."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from sae_core.draws import generator
from sae_core.geometric_median import geometric_median
from sae_core.statistics import SourceStatistics


@dataclass(frozen=True)
class Superposition:
    """More sparse features than dimensions: x = offset + Σ_i b_i m_i d_i.

    `n_features` random unit directions d_i in `width` dimensions; b_i is 1 with probability
    `density`, independently; m_i is uniform in [1, 2]; the offset is one random vector of norm
    `offset`. All draws depend on `seed` and, for samples, the step. Another `view` shows the same
    features, active on the same rows, by other directions and another offset: a second site.
    Reference: Elhage et al., "Toy models of superposition" (2022); Sharkey, Braun and Millidge,
    "Taking features out of superposition with sparse autoencoders" (2022).
    """

    n_features: int = 64
    width: int = 32
    density: float = 0.05
    offset: float = 1.0
    seed: int = 0
    view: int = 0

    def directions(self) -> torch.Tensor:
        """The features' unit directions (n_features, width)."""
        draws = generator(self.seed, "toy directions", step=self.view)
        return normalize(torch.randn(self.n_features, self.width, generator=draws))

    def sample(self, n: int, *, step: int) -> torch.Tensor:
        """Batch number `step` of n activations (n, width)."""
        draws = generator(self.seed, "toy sample", step=step)
        shape = (n, self.n_features)
        active = torch.rand(shape, generator=draws) < self.density
        magnitudes = 1 + torch.rand(shape, generator=draws)
        shift = torch.randn(
            self.width, generator=generator(self.seed, "toy offset", step=self.view)
        )
        return (active * magnitudes) @ self.directions() + self.offset * normalize(shift, dim=0)


def statistics_of(x: torch.Tensor) -> SourceStatistics:
    """The statistics of rows x (n, d) that training starts from."""
    rows = x.double()
    mean = rows.mean(0)
    norms = torch.linalg.vector_norm(rows, dim=1)
    return SourceStatistics(
        mean=mean,
        geometric_median=geometric_median(rows),
        mean_norm=float(norms.mean()),
        mean_square_norm=float(norms.square().mean()),
        total_variance=float((rows - mean).square().sum(1).mean()),
        n=len(rows),
    )
