"""What several second writings share."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext


def pre_activations(sae: Sae, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scaled = x * sae.input_scale
    return scaled, (scaled - sae.b_dec) @ sae.W_enc.T + sae.b_enc


def values(sae: Sae, x: torch.Tensor) -> torch.Tensor:
    """What each latent's activation is where it is active: the pre-activation."""
    return pre_activations(sae, x)[1]


def lp(a: torch.Tensor, p: float, floor: float) -> torch.Tensor:
    """a^p entry by entry, below the floor the chord from 0 to floor^p."""
    chord = a * floor ** (p - 1)
    return torch.where(a > floor, a.clamp(min=floor).pow(p), chord)


def with_auxk(
    sae: Sae, scaled: torch.Tensor, z: torch.Tensor, a: torch.Tensor, context: TrainingContext
) -> tuple[torch.Tensor, torch.Tensor]:
    error = scaled - (a @ sae.W_dec + sae.b_dec)
    loss = error.pow(2).sum(1).mean()
    counters = torch.where((a > 0).any(0), 0, context.since_fired + len(scaled))
    dead = counters >= context.dead_window
    k_aux = min(sae.config.k_aux, int(dead.sum()))
    if k_aux:
        among = z.masked_fill(~dead, -torch.inf)
        chosen = torch.zeros_like(dead).expand_as(z).clone()
        chosen.scatter_(1, among.detach().topk(k_aux, dim=1).indices, True)
        target = error.detach()
        guess = (z.clamp(min=0) * chosen) @ sae.W_dec
        share = (target - guess).pow(2).sum() / (target - target.mean(0)).pow(2).sum()
        loss = loss + sae.config.auxk_weight * context.total_variance * share
    return loss, a.detach()


def largest(z: torch.Tensor, k: int) -> torch.Tensor:
    """Where each row's k largest entries are; of equal ones the first."""
    kept = torch.zeros_like(z, dtype=torch.bool)
    for row, entries in enumerate(z.tolist()):
        order = sorted(range(len(entries)), key=lambda i, entries=entries: (-entries[i], i))
        kept[row, order[:k]] = True
    return kept
