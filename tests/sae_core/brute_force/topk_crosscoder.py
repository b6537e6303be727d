"""TopK crosscoder."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from . import crosscoder
from .terms import largest, with_auxk

SITES = 2
SETTINGS = {"sites": crosscoder.SETTINGS["sites"], "k": 3, "k_aux": 5}
values, decoded = crosscoder.values, crosscoder.decoded


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    z = crosscoder.values(sae, x)
    target = x * sae.output_scale
    return with_auxk(sae, target, z, z.clamp(min=0) * largest(z, sae.config.k), context)
