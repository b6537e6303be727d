"""ReLU with decoder norms in the penalty."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

SETTINGS = {"l1": 1.0}
RECOVERY = {"tokens": 400 * 256, "batch_size": 256}


def values(sae: Sae, x: torch.Tensor) -> torch.Tensor:
    return x * sae.input_scale @ sae.W_enc.T + sae.b_enc


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    a = values(sae, x).clamp(min=0)
    error = x * sae.input_scale - (a @ sae.W_dec + sae.b_dec)
    ramp = min(1.0, context.progress / sae.config.l1_warmup_share)
    weighed = a * sae.W_dec.pow(2).sum(1).sqrt()
    total = error.pow(2).sum(1).mean() + ramp * sae.config.l1 * weighed.sum(1).mean()
    return total, a.detach()
