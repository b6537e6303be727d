"""Nested decoding in plain differentiable torch: the judge. Holds n × (k + 1) × d values."""

from __future__ import annotations

import torch


def nested_decode_loss(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """Σ_j weights_nj · ‖e_nj‖², (n,)."""
    return (weights * nested_errors(x, indices, values, dictionary, bias)).sum(1)


def nested_errors(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """‖e_nj‖², (n, k + 1), e_nj = x_n − bias − Σ_{l ≤ j} values_nl · dictionary[indices_nl]."""
    steps = values.unsqueeze(-1) * dictionary[indices]
    start = (x - bias).unsqueeze(1)
    errors = torch.cat([start, start - steps.cumsum(1)], dim=1)
    return errors.square().sum(2)
