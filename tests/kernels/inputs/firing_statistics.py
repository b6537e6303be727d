"""Inputs of firing_statistics: multiples of 1/4, so that sums are exact and equal values many."""

from __future__ import annotations

import torch

GRADIENTS = ()
SIZES = {"n": (1, 3, 33), "k": (1, 3), "f": (3, 7, 33)}
EXAMPLES = (
    {"n": 0, "k": 3, "f": 7},
    {"n": 200, "k": 2, "f": 3},
    {"n": 33, "k": 7, "f": 33},
)
COMPILED = ({"n": 8192, "k": 32, "f": 24576},)


def make(generator: torch.Generator, *, n: int, k: int, f: int, zeros: bool) -> dict:
    """A code whose tokens name a latent once; `zeros` adds padding and a silent latent."""
    indices = torch.rand(n, f, generator=generator).argsort(1)[:, :k]
    values = torch.randint(1, 9, (n, k), generator=generator) / 4
    if zeros:
        values[:, 0], indices[:, 0] = 0, 0
        values = torch.where(indices == f - 1, 0.0, values)
    return {"indices": indices, "values": values, "n_latents": f}
