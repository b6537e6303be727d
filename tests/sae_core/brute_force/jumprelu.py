"""JumpReLU: the loss, and around it a function whose plain gradient is the stated estimate.

In f(z, θ) = c · [value · on + height · (t(θ) − t(z))], with c the gradient of what comes out as a
constant, t(θ) = θ · K / ε: values are corrected back by constants, gradients are the estimator's.
"""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import pre_activations

SETTINGS = {"sparsity": 1.0}
VARIANTS = [
    {"bandwidth": 0.4},
    {"bandwidth": 0.4, "jump_to_encoder": True, "dead_weight": 0.3},
    {"penalty": "tanh", "sparsity_warmup_share": 0.05, "dead_weight": 0.3},
    {"penalty": "tanh", "bandwidth": 0.3, "jump_to_encoder": False},
    {"penalty": "target_l0", "target_l0": 3.5, "bandwidth": 0.4},
]


def jumped(sae: Sae, value: torch.Tensor, z: torch.Tensor, height: torch.Tensor) -> torch.Tensor:
    theta = sae.threshold.clamp(min=0)
    width = sae.config.bandwidth
    window = ((z - theta) / width).abs() < 0.5
    mover = theta - (z if sae.config.jump_to_encoder else z.detach())
    surrogate = -height.detach() / width * window * mover
    return value * (z > theta) + surrogate - surrogate.detach()


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    config = sae.config
    scaled, z = pre_activations(sae, x)
    theta = sae.threshold.clamp(min=0)
    a = jumped(sae, z, z, theta)
    on = jumped(sae, torch.ones_like(z), z, torch.ones_like(theta))
    total = (scaled - (a @ sae.W_dec + sae.b_dec)).pow(2).sum(1).mean()
    ramp = min(1.0, context.progress / config.sparsity_warmup_share)
    if config.penalty == "step":
        penalty = on.sum(1).mean()
    elif config.penalty == "tanh":
        c = config.tanh_scale
        penalty = jumped(sae, (c * z).tanh(), z, (c * theta).tanh()).sum(1).mean()
    else:
        penalty = (on.sum(1).mean() - config.target_l0) ** 2 / config.target_l0
    total = total + ramp * config.sparsity * penalty
    counters = torch.where((a > 0).any(0), 0, context.since_fired + len(x))
    dead = counters >= context.dead_window
    short = (theta - z).clamp(min=0)[:, dead].sum(1).mean()
    return total + config.dead_weight * short, (a.detach() > 0) * z.detach()
