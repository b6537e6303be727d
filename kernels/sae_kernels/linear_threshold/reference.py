"""Linear + threshold in plain differentiable torch: the judge. Holds all n × f outputs."""

from __future__ import annotations

import torch

from sae_kernels.ragged import RaggedCode


def linear_threshold(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    threshold: torch.Tensor,
    *,
    capacity: int,
) -> RaggedCode:
    """The entries of x·weightᵀ + bias that are > 0 and > the threshold."""
    z = x @ weight.T + bias
    off = (z <= threshold) | (z <= 0)
    rows, columns = (~off).nonzero(as_tuple=True)
    return RaggedCode(rows, columns, z[rows, columns], len(x))
