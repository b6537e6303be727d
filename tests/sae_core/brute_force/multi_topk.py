"""Multi-TopK."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import pre_activations, with_auxk

SETTINGS = {"k": 3, "k_aux": 5}
VARIANTS = [{}, {"multiple": 2, "multiple_weight": 1.5}, {"auxk_weight": 0.0}]


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, z = pre_activations(sae, x)

    def largest(k: int) -> torch.Tensor:
        kept = torch.zeros_like(z, dtype=torch.bool)
        for row, entries in enumerate(z.tolist()):
            order = sorted(range(len(entries)), key=lambda i, entries=entries: (-entries[i], i))
            kept[row, order[:k]] = True
        return z.clamp(min=0) * kept

    k, m = sae.config.k, sae.config.multiple
    total, activations = with_auxk(sae, scaled, z, largest(k), context)
    error = scaled - (largest(m * k) @ sae.W_dec + sae.b_dec)
    return total + sae.config.multiple_weight * error.pow(2).sum(1).mean(), activations
