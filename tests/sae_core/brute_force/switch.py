"""Switch: every expert on every token, with gate 0 where it was not chosen."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import pre_activations

SETTINGS = {"k": 3, "n_experts": 4}
# A token may need any two of 48 directions, and one expert of 12 latents rarely has both: it finds
# directions (MMCS 0.92) and leaves a third of the variance. Two experts of 24 have most pairs.
RECOVERY = {"n_latents": 96, "experts_per_token": 2}
VARIANTS = [
    {},
    {"experts_per_token": 2},
    {"always_on": True, "balance_weight": 3.0},
    {"always_on": True, "experts_per_token": 3, "k": 20},
    {"n_experts": 16, "experts_per_token": 2, "k": 5},
]


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, _ = pre_activations(sae, x)
    gated = values(sae, x).clamp(min=0)
    kept = torch.zeros_like(gated)
    kept.scatter_(1, gated.detach().topk(sae.config.k, dim=1).indices, 1.0)
    a = gated * kept
    error = scaled - (a @ sae.W_dec + sae.b_dec)
    p, chosen = router(sae, scaled)
    balance = p.shape[1] * (chosen.sum(0) / chosen.sum() * p.mean(0)).sum()
    weight = sae.config.balance_weight * context.total_variance
    return error.pow(2).sum(1).mean() + weight * balance, a.detach()


def values(sae: Sae, x: torch.Tensor) -> torch.Tensor:
    scaled, z = pre_activations(sae, x)
    p, chosen = router(sae, scaled)
    gates = p * chosen
    if sae.config.experts_per_token > 1:
        gates = gates / gates.sum(1, keepdim=True)
    if sae.config.always_on:
        gates = torch.cat([torch.ones_like(gates[:, :1]), gates], dim=1)
    return z * gates.repeat_interleave(z.shape[1] // gates.shape[1], dim=1)


def router(sae: Sae, scaled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The probabilities, and 1.0 where an expert was chosen."""
    logits = (scaled - sae.b_router) @ sae.W_router.T
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    best = p.detach().topk(sae.config.experts_per_token, dim=1).indices
    return p, torch.zeros_like(p).scatter(1, best, 1.0)
