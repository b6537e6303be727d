"""Transcoder."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import largest, with_auxk

SITES = 2
SETTINGS = {"k": 3, "k_aux": 5, "write_site": "mlp_out"}


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    z = values(sae, x)
    target = x[:, 32:] * sae.output_scale
    return with_auxk(sae, target, z, z.clamp(min=0) * largest(z, sae.config.k), context)


def values(sae: Sae, x: torch.Tensor) -> torch.Tensor:
    return (x[:, :32] * sae.input_scale) @ sae.W_enc.T + sae.b_enc


def decoded(sae: Sae, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    return (code * sae.output_scale[0] @ sae.W_dec + sae.b_dec) / sae.output_scale
