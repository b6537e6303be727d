"""Every architecture's training loss written down a second time: dense, slow, from the formulas."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext


def pre_activations(sae: Sae, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scaled = x * sae.input_scale
    return scaled, (scaled - sae.b_dec) @ sae.W_enc.T + sae.b_enc


def relu(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, z = pre_activations(sae, x)
    a = z.clamp(min=0)
    error = scaled - (a @ sae.W_dec + sae.b_dec)
    ramp = min(1.0, context.progress / sae.config.l1_warmup_share)
    loss = error.pow(2).sum(1).mean() + ramp * sae.config.l1 * a.sum(1).mean()
    return loss, a.detach()


def topk(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, z = pre_activations(sae, x)
    kept = torch.zeros_like(z, dtype=torch.bool)
    for row, entries in enumerate(z.tolist()):
        order = sorted(range(len(entries)), key=lambda i, entries=entries: (-entries[i], i))
        kept[row, order[: sae.config.k]] = True
    return with_auxk(sae, scaled, z, z.clamp(min=0) * kept, context)


def batch_topk(
    sae: Sae, x: torch.Tensor, context: TrainingContext
) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, z = pre_activations(sae, x)
    flat = z.reshape(-1).tolist()
    order = sorted(range(len(flat)), key=lambda i: (-flat[i], i))
    kept = torch.zeros(len(flat), dtype=torch.bool)
    kept[order[: len(x) * sae.config.k]] = True
    return with_auxk(sae, scaled, z, z.clamp(min=0) * kept.view_as(z), context)


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


LOSSES = {"relu": relu, "topk": topk, "batch_topk": batch_topk}
