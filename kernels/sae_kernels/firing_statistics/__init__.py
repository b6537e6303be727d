"""How often, how much and where every latent fires in a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch

from sae_kernels.dispatch import implementation


class FiringStatistics(NamedTuple):
    """Of each latent, all (f,): `counts` of tokens int64, `sums` and `maxima` of its values, and
    `top_tokens` int64, the first token with its largest value; -1 where it never fires."""

    counts: torch.Tensor
    sums: torch.Tensor
    maxima: torch.Tensor
    top_tokens: torch.Tensor


@torch.no_grad()
def firing_statistics(
    indices: torch.Tensor, values: torch.Tensor, *, n_latents: int
) -> FiringStatistics:
    """Counts, sums, maxima and top tokens of the entries > 0 of a code, by latent.

    `indices` (n, k) int64 in [0, f), a token's latents all different but for padding; `values`
    (n, k), f = `n_latents`. An entry whose value is not > 0 does not count as firing. Sums have the
    same bits every time. Not differentiable. Raises ValueError when the shapes do not fit.
    """
    if indices.ndim != 2 or indices.shape != values.shape or n_latents < 1:
        raise ValueError(
            f"firing_statistics got indices {tuple(indices.shape)}, values {tuple(values.shape)}, "
            f"n_latents {n_latents}. Allowed: (n, k), (n, k), 1 or more. Pass a code's two halves."
        )
    run = implementation("firing_statistics", values)
    return FiringStatistics(*run.firing_statistics(indices, values, n_latents=n_latents))
