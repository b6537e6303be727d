"""Reconstructions from a ragged code."""

from __future__ import annotations

import torch

from sae_kernels.code_sort import CodeSort
from sae_kernels.dispatch import implementation
from sae_kernels.ragged import RaggedCode


def ragged_decode(
    code: RaggedCode,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
    *,
    sort: CodeSort | None = None,
) -> torch.Tensor:
    """Weighted sums of dictionary rows, over as many latents as each token has.

    x̂_n = bias + Σ_{j: rows_j = n} values_j · dictionary[columns_j].

    `dictionary` (f, d), `bias` (d,); gives (n, d). Differentiable in values, dictionary and bias.
    `sort` shares the code's sort by latent with the operation that made the code.
    Raises ValueError when the shapes do not fit together.
    """
    if dictionary.ndim != 2 or bias.shape != dictionary.shape[1:]:
        raise ValueError(
            f"ragged_decode got dictionary {tuple(dictionary.shape)}, bias {tuple(bias.shape)}. "
            "Allowed: (f, d), (d,). Check which dimension is the dictionary's."
        )
    run = implementation("ragged_decode", code.values)
    return run.ragged_decode(code, dictionary, bias, sort=sort)
