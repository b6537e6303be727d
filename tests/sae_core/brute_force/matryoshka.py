"""Matryoshka: one dense reconstruction for every prefix."""

from __future__ import annotations

import math

import torch

from sae_core.draws import generator
from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

from .batch_topk import kept_of_batch
from .terms import pre_activations, with_auxk

SETTINGS = {"k": 3, "k_aux": 5}
VARIANTS = [
    {},
    {"group_sizes": (5, 1, 30, 12), "combine": "sum"},
    {"prefixes": "sampled", "n_prefixes": 6},
    {"prefixes": "sampled", "combine": "sum", "length_power": 1.0},
    {"prefixes": "all", "auxk_weight": 0.0},
    {"prefixes": "all", "length_power": 0.0, "n_prefixes": 3},
]
RECOVERY = {"k": 2}


def loss(sae: Sae, x: torch.Tensor, context: TrainingContext) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, z = pre_activations(sae, x)
    a = z.clamp(min=0) * kept_of_batch(z, sae.config.k)
    total, activations = with_auxk(sae, scaled, z, a, context)
    total = total - (scaled - (a @ sae.W_dec + sae.b_dec)).pow(2).sum(1).mean()
    for length, weight in lengths_and_weights(sae, context):
        error = scaled - (a[:, :length] @ sae.W_dec[:length] + sae.b_dec)
        total = total + weight * error.pow(2).sum(1).mean()
    return total, activations


def lengths_and_weights(sae: Sae, context: TrainingContext) -> list[tuple[int, float]]:
    config, f = sae.config, sae.n_latents
    if config.prefixes == "all":
        share = 1 - 1 / config.n_prefixes
        probabilities = falling(f, config.length_power)
        return [(m + 1, share * p) for m, p in enumerate(probabilities)] + [(f, 1 - share)]
    if config.prefixes == "groups":
        sizes = config.group_sizes or (2, 2, 6, 12, 26)  # of 48, by default
        lengths = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    else:
        draws = generator(context.seed, "prefixes", step=context.step)
        uniform = torch.rand(config.n_prefixes - 1, generator=draws, dtype=torch.float64).tolist()
        lengths = [drawn(u, falling(f, config.length_power)) for u in uniform] + [f]
    return [(m, 1.0 if config.combine == "sum" else 1 / len(lengths)) for m in lengths]


def falling(f: int, power: float) -> list[float]:
    """The probabilities of lengths 1 ... f − 1: the mass of x^−power between m and m + 1."""
    p = 1 - power
    masses = [
        math.log((m + 1) / m) if power == 1 else ((m + 1) ** p - m**p) / p for m in range(1, f)
    ]
    return [mass / sum(masses) for mass in masses]


def drawn(uniform: float, probabilities: list[float]) -> int:
    reached = 0.0
    for m, p in enumerate(probabilities):
        reached += p
        if uniform < reached:
            return m + 1
    return len(probabilities)
