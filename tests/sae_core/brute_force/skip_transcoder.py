"""Skip transcoder."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from . import transcoder
from .terms import largest, with_auxk

SITES = 2
SETTINGS = transcoder.SETTINGS
values = transcoder.values
RECOVERED = 0.8
WHY = """Where features share few dimensions, a linear map explains half of what one site says of
the other, and skip and latents learn at once who takes what: directions move while they are learnt.
They are held against what the skip leaves of each feature."""


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    z = transcoder.values(sae, x)
    left = x[:, 32:] * sae.output_scale - (x[:, :32] * sae.input_scale) @ sae.W_skip
    return with_auxk(sae, left, z, z.clamp(min=0) * largest(z, sae.config.k), context)


def decoded(sae: Sae, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    linear = (x[:, :32] * sae.input_scale) @ sae.W_skip / sae.output_scale
    return transcoder.decoded(sae, x, code) + linear


def known_directions(sae: Sae, read: torch.Tensor, written: torch.Tensor) -> torch.Tensor:
    """What the skip leaves of each feature."""
    return (written * sae.output_scale - (read * sae.input_scale) @ sae.W_skip).detach()
