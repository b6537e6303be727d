"""Nested decoding on the CPU: O(n k d) forward and backward, nothing kept per prefix."""

from __future__ import annotations

import torch

from sae_kernels.nested_walk import NestedLoss, Ragged, nested_squares


def nested_decode_loss(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """Σ_j weights_nj · ‖e_nj‖², (n,)."""
    weights = weights.expand(len(x), -1).reshape(-1)
    return NestedLoss.apply(x, *_ragged(indices, values), dictionary, bias, weights)


def nested_errors(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """‖e_nj‖², (n, k + 1)."""
    squares = nested_squares(x, _ragged(indices, values), dictionary, bias)
    return squares.view(len(x), indices.shape[1] + 1)


def _ragged(indices: torch.Tensor, values: torch.Tensor) -> Ragged:
    counts = torch.full((len(indices),), indices.shape[1])
    return Ragged(counts, indices.reshape(-1), values.reshape(-1))
