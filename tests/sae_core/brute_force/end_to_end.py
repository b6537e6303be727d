"""End-to-end: KL through a language model, L1, and a later site's error."""

from __future__ import annotations

import torch

from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .terms import pre_activations

THROUGH_A_MODEL = True
FIRST_TERM = "kl"
RECOVERY = {"l1": 0.8}
SETTINGS = {"l1": 0.3, "later_sites": ("resid_post.3",), "later_weight": 0.7}


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    model = context.language_model
    chosen = [i for i in range(len(x)) if i % 8 != 7]
    _, z = pre_activations(sae, x[chosen])
    a = z.clamp(min=0)
    x_hat = (a @ sae.W_dec + sae.b_dec) / sae.input_scale
    mixed = x.clone()
    mixed[chosen] = x_hat
    (clean, before), (spliced, after) = model.behind(x), model.behind(mixed)
    kl = sum((p.exp() * (p - q)).sum() for p, q in zip(clean, spliced, strict=True)) / len(x)
    before, after = before[chosen], after[chosen]
    later = (before - after).pow(2).sum() / (before - before.mean(0)).pow(2).sum()
    ramp = min(1.0, context.progress / sae.config.l1_warmup_share)
    penalty = ramp * sae.config.l1 * a.sum(1).mean() / x.shape[1]
    return kl + penalty + sae.config.later_weight * later, a.detach()
