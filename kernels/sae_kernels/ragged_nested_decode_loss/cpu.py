"""Ragged nested decoding on the CPU: O(m d) forward and backward, nothing kept per prefix."""

from __future__ import annotations

import torch

from sae_kernels.nested_walk import NestedLoss
from sae_kernels.ragged import RaggedCode


def ragged_nested_decode_loss(
    x: torch.Tensor,
    code: RaggedCode,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
    weights: torch.Tensor,
    bias_weights: torch.Tensor,
) -> torch.Tensor:
    """Σ_j w_nj · ‖e_nj‖², (n,)."""
    counts = torch.bincount(code.rows, minlength=code.n_rows)
    slots = torch.arange(len(code.rows)) + code.rows + 1
    every = weights.new_empty(len(x) + len(weights))
    every[slots] = weights
    every[torch.arange(len(x)) + counts.cumsum(0) - counts] = bias_weights
    return NestedLoss.apply(x, counts, code.columns, code.values, dictionary, bias, every)
