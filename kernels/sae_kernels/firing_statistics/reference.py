"""Firing statistics in plain torch: the judge, and the CPU path."""

from __future__ import annotations

import torch


def firing_statistics(
    indices: torch.Tensor, values: torch.Tensor, *, n_latents: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Counts, sums, maxima and top tokens (f,)."""
    n, k = indices.shape
    latents = indices.reshape(-1)
    fires = values.reshape(-1) > 0
    found = torch.where(fires, values.reshape(-1), 0.0)
    counts = torch.zeros(n_latents, dtype=torch.int64, device=values.device)
    counts.index_add_(0, latents, fires.to(torch.int64))
    sums = values.new_zeros(n_latents).index_add_(0, latents, found)
    maxima = values.new_zeros(n_latents).scatter_reduce_(0, latents, found, "amax")
    tokens = torch.arange(n, device=values.device).repeat_interleave(k)
    tops = torch.where(fires & (found == maxima[latents]), tokens, n)
    first = torch.full((n_latents,), n, device=values.device).scatter_reduce_(
        0, latents, tops, "amin"
    )
    return counts, sums, maxima, torch.where(counts > 0, first, -1)
