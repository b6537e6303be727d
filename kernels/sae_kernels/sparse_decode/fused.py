"""Sparse decode on the GPU: forward and backward read only the dictionary rows that are active."""

from __future__ import annotations

import torch

from sae_kernels.code_fused import even_code
from sae_kernels.code_product import decoded
from sae_kernels.code_sort import CodeSort


def sparse_decode(
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
    *,
    sort: CodeSort | None,
) -> torch.Tensor:
    """bias + Σ_j values_nj · dictionary[indices_nj], (n, d)."""
    return decoded(even_code(indices, sort), values, dictionary, bias)
