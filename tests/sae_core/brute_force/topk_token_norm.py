"""TopK on inputs normalised token by token."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import largest, with_auxk

SETTINGS = {"k": 3, "k_aux": 5}


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    normal, _, _ = normalised(x)
    z = (normal - sae.b_dec) @ sae.W_enc.T + sae.b_enc
    return with_auxk(sae, normal, z, z.clamp(min=0) * largest(z, sae.config.k), context)


def normalised(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    d = x.shape[1]
    mean = x.sum(1, keepdim=True) / d
    spread = ((x - mean).pow(2).sum(1, keepdim=True) / (d - 1)).sqrt()
    return (x - mean) / (spread + 1e-5), spread, mean


def values(sae: Sae, x: torch.Tensor) -> torch.Tensor:
    """What latents are worth where they are active, times s: the shared test divides by it."""
    normal, spread, _ = normalised(x)
    return ((normal - sae.b_dec) @ sae.W_enc.T + sae.b_enc) * spread * sae.input_scale


def decoded(sae: Sae, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    _, spread, mean = normalised(x)
    return code @ sae.W_dec + spread * sae.b_dec + mean
