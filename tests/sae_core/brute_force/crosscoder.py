"""Crosscoder with an L1 penalty."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

SITES = 2
SETTINGS = {"sites": ("resid_post.0", "resid_post.1"), "l1": 1.0}


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    a = values(sae, x).clamp(min=0)
    total = torch.zeros((), dtype=torch.float64)
    ramp = min(1.0, context.progress / sae.config.l1_warmup_share)
    for site in range(SITES):
        own = slice(32 * site, 32 * (site + 1))
        error = x[:, own] * sae.input_scale[own] - (a @ sae.W_dec[:, own] + sae.b_dec[own])
        norms = sae.W_dec[:, own].pow(2).sum(1).sqrt()
        total = total + error.pow(2).sum(1).mean()
        total = total + ramp * sae.config.l1 * (a * norms).sum(1).mean()
    return total, a.detach()


def values(sae: Sae, x: torch.Tensor) -> torch.Tensor:
    return (
        sum(
            (x[:, own] * sae.input_scale[own]) @ sae.W_enc[:, own].T
            for own in (slice(0, 32), slice(32, 64))
        )
        + sae.b_enc
    )


def decoded(sae: Sae, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    return (code * sae.output_scale[0] @ sae.W_dec + sae.b_dec) / sae.output_scale
