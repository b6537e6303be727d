"""Sums of weighted rows by latent in plain differentiable torch: the judge. Holds n × k × d."""

from __future__ import annotations

import torch


def sparse_outer(
    indices: torch.Tensor, weights: torch.Tensor, source: torch.Tensor, *, n_latents: int
) -> torch.Tensor:
    """Row i is Σ weights_tj · source_t over the entries with indices_tj = i, (f, d)."""
    weighted = (weights.unsqueeze(-1) * source.unsqueeze(1)).flatten(0, 1)
    sums = weighted.new_zeros(n_latents, source.shape[1])
    return sums.index_add(0, indices.reshape(-1), weighted)
