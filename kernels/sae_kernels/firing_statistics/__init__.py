"""How often, how much and where every latent fires in a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch

from sae_kernels.dispatch import implementation


class FiringStatistics(NamedTuple):
    """Of each latent: `counts` (f,) int64 of tokens and `sums` (f,) of its values; `top_values`
    (f, m) of its largest, descending, and `top_tokens` (f, m) int64, where; of equal values the
    earlier token first; places beyond its fires hold 0 and −1."""

    counts: torch.Tensor
    sums: torch.Tensor
    top_values: torch.Tensor
    top_tokens: torch.Tensor


@torch.no_grad()
def firing_statistics(
    indices: torch.Tensor, values: torch.Tensor, *, n_latents: int, top: int
) -> FiringStatistics:
    """Counts, sums and the `top` largest values with their tokens of a code's entries > 0.

    `indices` (n, k) int64 in [0, f), a token's latents all different but for padding; `values`
    (n, k), f = `n_latents`. An entry whose value is not > 0 does not count as firing. Everything
    has the same bits every time. Not differentiable. Raises ValueError when the shapes do not fit.
    """
    if indices.ndim != 2 or indices.shape != values.shape or n_latents < 1 or top < 1:
        raise ValueError(
            f"firing_statistics got indices {tuple(indices.shape)}, values {tuple(values.shape)}, "
            f"n_latents {n_latents}, top {top}. Allowed: (n, k), (n, k), 1 or more, 1 or more. "
            "Pass a code's two halves."
        )
    run = implementation("firing_statistics", values)
    return FiringStatistics(*run.firing_statistics(indices, values, n_latents=n_latents, top=top))
