"""TopK."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import pre_activations, with_auxk

SETTINGS = {"k": 3, "k_aux": 5}


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, z = pre_activations(sae, x)
    kept = torch.zeros_like(z, dtype=torch.bool)
    for row, entries in enumerate(z.tolist()):
        order = sorted(range(len(entries)), key=lambda i, entries=entries: (-entries[i], i))
        kept[row, order[: sae.config.k]] = True
    return with_auxk(sae, scaled, z, z.clamp(min=0) * kept, context)
