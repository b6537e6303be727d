"""ReLU with an L1 or Lp penalty."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import lp, pre_activations

SETTINGS = {"l1": 1.0}
VARIANTS = [{}, {"p": 0.5}, {"p": 0.5, "lp_floor": 0.3}]


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, z = pre_activations(sae, x)
    a = z.clamp(min=0)
    error = scaled - (a @ sae.W_dec + sae.b_dec)
    ramp = min(1.0, context.progress / sae.config.l1_warmup_share)
    penalty = lp(a, sae.config.p, sae.config.lp_floor).sum(1).mean()
    total = error.pow(2).sum(1).mean() + ramp * sae.config.l1 * penalty
    return total, a.detach()
