"""ReLU with a penalty whose exponent falls."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import lp, pre_activations

SETTINGS = {"l1": 1.0}
RECOVERY = {"tokens": 400 * 256, "batch_size": 256}
# The shared context stands at 2 % of the budget: p = 1, p = 0.2 at once, and step 1 of 10.
VARIANTS = [{}, {"p_hold_share": 0.0, "p_steps": 1}, {"p_hold_share": 0.0}]


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, z = pre_activations(sae, x)
    a = z.clamp(min=0)
    error = scaled - (a @ sae.W_dec + sae.b_dec)
    p = 1.0
    if sae.config.p_hold_share == 0:
        p = 0.2 if sae.config.p_steps == 1 else 0.92
    ramp = min(1.0, context.progress / sae.config.l1_warmup_share)
    penalty = lp(a, p, sae.config.lp_floor).sum(1).mean()
    return error.pow(2).sum(1).mean() + ramp * sae.config.l1 * penalty, a.detach()
