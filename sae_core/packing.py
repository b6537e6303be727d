"""From dense activations to a sparse code."""

from __future__ import annotations

import torch

from sae_core.code import SparseCode


def packed(dense: torch.Tensor) -> SparseCode:
    """The code of dense activations (n, f) >= 0: entries > 0 in order of latent, padded to the
    largest number of them on one token (at least 1)."""
    n, n_latents = dense.shape
    rows, columns = (~(dense <= 0)).nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=n)
    starts = counts.cumsum(0) - counts
    places = torch.arange(rows.numel(), device=rows.device) - starts[rows]
    k = max(1, int(counts.max())) if n else 1
    indices = columns.new_zeros(n, k).index_put_((rows, places), columns)
    values = dense.new_zeros(n, k).index_put((rows, places), dense[rows, columns])
    return SparseCode(indices, values, n_latents)
