"""TopK."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import largest, pre_activations, with_auxk

SETTINGS = {"k": 3, "k_aux": 5}


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, z = pre_activations(sae, x)
    kept = largest(z, sae.config.k)
    return with_auxk(sae, scaled, z, z.clamp(min=0) * kept, context)
