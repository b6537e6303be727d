"""BatchTopK."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import pre_activations, with_auxk

SETTINGS = {"k": 3, "k_aux": 5}
RECOVERY = {"k": 2}


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, z = pre_activations(sae, x)
    a = z.clamp(min=0) * kept_of_batch(z, sae.config.k)
    return with_auxk(sae, scaled, z, a, context)


def kept_of_batch(z: torch.Tensor, k: int) -> torch.Tensor:
    flat = z.reshape(-1).tolist()
    order = sorted(range(len(flat)), key=lambda i: (-flat[i], i))
    kept = torch.zeros(len(flat), dtype=torch.bool)
    kept[order[: len(z) * k]] = True
    return kept.view_as(z)
