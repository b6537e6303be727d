"""The Gated SAE."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

SETTINGS = {"l1": 1.0}
VARIANTS = [{}, {"loss_scale": "dataset_variance"}]
RECOVERY = {"l1": 3.0, "tokens": 400 * 256, "batch_size": 256}


def values(sae: Sae, x: torch.Tensor) -> torch.Tensor:
    weights = sae.r_mag.exp().unsqueeze(1) * sae.W_enc
    return (x * sae.input_scale - sae.b_dec) @ weights.T + sae.b_mag


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    scaled = x * sae.input_scale
    gate = (scaled - sae.b_dec) @ sae.W_enc.T + sae.b_enc
    a = values(sae, x).clamp(min=0) * (gate > 0)
    u = gate.clamp(min=0)
    ramp = min(1.0, context.progress / sae.config.l1_warmup_share)
    unit = 1.0 if sae.config.loss_scale == "none" else context.total_variance
    frozen = u @ sae.W_dec.detach() + sae.b_dec.detach()
    errors = (scaled - (a @ sae.W_dec + sae.b_dec), scaled - frozen)
    squared = sum(error.pow(2).sum(1).mean() for error in errors)
    return squared / unit + ramp * sae.config.l1 * u.sum(1).mean(), a.detach()
