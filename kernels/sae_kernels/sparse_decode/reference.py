"""Sparse decode in plain differentiable torch: the judge. Holds n × k × d values."""

from __future__ import annotations

import torch

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
    return (values.unsqueeze(-1) * dictionary[indices]).sum(1) + bias
