"""Sums of weighted rows by latent on the CPU: the same bits for any number of threads."""

from __future__ import annotations

import torch

from sae_kernels.code_cpu import even_code
from sae_kernels.code_product import summed_by_latent


def sparse_outer(
    indices: torch.Tensor, weights: torch.Tensor, source: torch.Tensor, *, n_latents: int
) -> torch.Tensor:
    """Row i is Σ weights_tj · source_t over the entries with indices_tj = i, (f, d)."""
    return summed_by_latent(even_code(indices, None), weights, source, n_latents=n_latents)
