"""Reconstructions from the active latents alone."""

from __future__ import annotations

import torch

from sae_kernels.code_sort import CodeSort
from sae_kernels.dispatch import implementation


def sparse_decode(
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
    *,
    sort: CodeSort | None = None,
) -> torch.Tensor:
    """Weighted sums of dictionary rows: x̂_n = bias + Σ_j values_nj · dictionary[indices_nj].

    `indices` (n, k) int64 in [0, f), `values` (n, k), `dictionary` (f, d), `bias` (d,); gives
    (n, d). Differentiable in values, dictionary and bias. Padding (index 0, value 0) adds nothing.
    `sort` shares the code's sort by latent with the operation that made the code.
    Raises ValueError when the shapes do not fit together.
    """
    _check(indices, values, dictionary, bias)
    run = implementation("sparse_decode", values)
    return run.sparse_decode(indices, values, dictionary, bias, sort=sort)


def _check(
    indices: torch.Tensor, values: torch.Tensor, dictionary: torch.Tensor, bias: torch.Tensor
) -> None:
    shapes_fit = (
        indices.ndim == 2
        and indices.shape == values.shape
        and dictionary.ndim == 2
        and bias.shape == dictionary.shape[1:]
    )
    if not shapes_fit:
        raise ValueError(
            f"sparse_decode got indices {tuple(indices.shape)}, values {tuple(values.shape)}, "
            f"dictionary {tuple(dictionary.shape)}, bias {tuple(bias.shape)}. Allowed: (n, k), "
            "(n, k), (f, d), (d,). Check which dimension is the dictionary's."
        )
