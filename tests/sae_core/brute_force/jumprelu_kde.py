"""JumpReLU with remembered threshold gradients: the loss, and the stated estimate around it.

On a fresh SAE the memory is empty, so that its estimate is that of this batch and the first
bandwidth; test_jumprelu_kde.py compares later steps.
"""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import pre_activations

SETTINGS = {"sparsity": 1.0}
RECOVERY = {"tokens": 400 * 256, "batch_size": 256}
VARIANTS = [
    {"bandwidth": 0.2},
    {"bandwidth": 0.2, "loss_scale": "dataset_variance"},
    {"bandwidth": 0.2, "penalty": "target_l0", "target_l0": 3.5, "memory_tokens": 4},
]


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    config = sae.config
    scaled, z = pre_activations(sae, x)
    theta = sae.threshold.clamp(min=0).detach()
    a = z * (z > theta)
    x_hat = a @ sae.W_dec + sae.b_dec
    l0 = (a > 0).double().sum(1).mean()
    ramp = min(1.0, context.progress / config.sparsity_warmup_share) * config.sparsity
    price, penalty = 1.0, l0
    if config.penalty == "target_l0":
        price = 2 * (l0 - config.target_l0) / config.target_l0
        penalty = (l0 - config.target_l0) ** 2 / config.target_l0
    unit = 1.0 if config.loss_scale == "none" else context.total_variance
    total = (scaled - x_hat).pow(2).sum(1).mean() / unit + ramp * penalty
    estimates = []
    for i in range(sae.n_latents):
        near = [n for n in range(len(x)) if abs(z[n, i] - theta[i]) < config.bandwidth / 2]
        jumps = [_jump(scaled[n], x_hat[n], a[n, i], theta[i], sae.W_dec[i]) for n in near]
        mean = sum((jump / unit + ramp * price for jump in jumps), torch.zeros(()))
        estimates.append(-mean / (config.bandwidth * len(x)))
    moved = (torch.stack(estimates).detach() * sae.threshold).sum()
    return total + moved - moved.detach(), a.detach()


def _jump(target, x_hat, a_i, theta_i, row) -> torch.Tensor:
    """A token's squared error with the latent at θ, less that without it."""
    without = x_hat - a_i * row
    return (target - without - theta_i * row).pow(2).sum() - (target - without).pow(2).sum()
