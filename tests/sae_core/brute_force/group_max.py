"""GroupMax."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import pre_activations, with_auxk

SETTINGS = {"k": 3, "k_aux": 5}
RECOVERY = {"tokens": 400 * 256, "batch_size": 256}


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, z = pre_activations(sae, x)
    size = sae.n_latents // sae.config.k
    kept = torch.zeros_like(z, dtype=torch.bool)
    for row, entries in enumerate(z.tolist()):
        for start in range(0, sae.n_latents, size):
            group = entries[start : start + size]
            kept[row, start + group.index(max(group))] = True
    return with_auxk(sae, scaled, z, z.clamp(min=0) * kept, context)
