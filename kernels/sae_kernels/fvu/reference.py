"""Squared error and variance in plain differentiable torch: the judge, and the CPU path."""

from __future__ import annotations

import torch


def fvu(x: torch.Tensor, x_hat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ‖x − x̂‖² and Σ‖x − x̄‖², 0-d."""
    return (x - x_hat).square().sum(), (x - x.mean(0)).square().sum()
