"""From activations of any number per token to a code with as many places for each."""

from __future__ import annotations

import torch
from sae_kernels import RaggedCode, linear_threshold

from sae_core.code import SparseCode


def packed(dense: torch.Tensor) -> SparseCode:
    """The code of dense activations (n, f) >= 0: entries > 0 in order of latent, padded to the
    largest number of them on one token (at least 1)."""
    rows, columns = (~(dense <= 0)).nonzero(as_tuple=True)
    code = RaggedCode(rows, columns, dense[rows, columns], len(dense))
    return padded(code, n_latents=dense.shape[1])


def padded(code: RaggedCode, *, n_latents: int) -> SparseCode:
    """The same code with a place for each of the most latents on one token (at least 1)."""
    n, rows = code.n_rows, code.rows
    counts = torch.bincount(rows, minlength=n)
    starts = counts.cumsum(0) - counts
    places = torch.arange(rows.numel(), device=rows.device) - starts[rows]
    k = max(1, int(counts.max())) if n else 1
    indices = code.columns.new_zeros(n, k).index_put_((rows, places), code.columns)
    values = code.values.new_zeros(n, k).index_put((rows, places), code.values)
    return SparseCode(indices, values, n_latents)


def code_above(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, threshold: torch.Tensor
) -> SparseCode:
    """The code of a = z where z = x·weightᵀ + bias lies above θ and 0, else 0.

    `x` (n, d), `weight` (f, d), `bias` (f,), `threshold` θ (f,) or 0-d. The pre-activations of all
    latents are never held at once.
    """
    return padded(linear_threshold(x, weight, bias, threshold), n_latents=len(weight))
