"""Firing statistics in plain torch: the judge, and the CPU path."""

from __future__ import annotations

import torch


def firing_statistics(
    indices: torch.Tensor, values: torch.Tensor, *, n_latents: int, top: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Counts and sums (f,), top values and tokens (f, top)."""
    tokens, slots = (values > 0).nonzero(as_tuple=True)
    latents, found = indices[tokens, slots], values[tokens, slots]
    counts = torch.bincount(latents, minlength=n_latents)
    sums = values.new_zeros(n_latents).index_add_(0, latents, found)
    order = found.argsort(descending=True, stable=True)
    order = order[latents[order].argsort(stable=True)]
    latents = latents[order]
    rank = torch.arange(len(order), device=values.device) - (counts.cumsum(0) - counts)[latents]
    at = (latents[rank < top], rank[rank < top])
    order = order[rank < top]
    top_values = values.new_zeros(n_latents, top).index_put_(at, found[order])
    top_tokens = counts.new_full((n_latents, top), -1).index_put_(at, tokens[order])
    return counts, sums, top_values, top_tokens
