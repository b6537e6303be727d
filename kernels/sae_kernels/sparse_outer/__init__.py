"""Sums of weighted token rows by latent: what the gradients of encoder and decoder are."""

from __future__ import annotations

import torch

from sae_kernels.dispatch import implementation


def sparse_outer(
    indices: torch.Tensor, weights: torch.Tensor, source: torch.Tensor, *, n_latents: int
) -> torch.Tensor:
    """Row i is Σ weights_tj · source_t over the entries (t, j) with indices_tj = i.

    The product of the code's transpose, (f, n), with `source`, (n, d); rows that no entry names
    are 0. Deterministic: entries of a latent are summed in an order that only the code decides.
    `indices` (n, k) int64 in [0, f), `weights` (n, k), `source` (n, d), f = `n_latents`; gives
    (f, d). Differentiable in weights and source. Entries of weight 0 may be left out.
    Raises ValueError when the shapes do not fit together.
    """
    if (
        indices.ndim != 2
        or indices.shape != weights.shape
        or source.ndim != 2
        or source.shape[0] != indices.shape[0]
        or n_latents < 1
    ):
        raise ValueError(
            f"sparse_outer got indices {tuple(indices.shape)}, weights {tuple(weights.shape)}, "
            f"source {tuple(source.shape)}, n_latents {n_latents}. Allowed: (n, k), (n, k), "
            "(n, d), 1 or more. Check that code and source have the same tokens."
        )
    run = implementation("sparse_outer", source)
    return run.sparse_outer(indices, weights, source, n_latents=n_latents)
