"""Inputs of firing_statistics: multiples of 1/4, so that sums are exact and equal values many."""

from __future__ import annotations

import torch

GRADIENTS = ()
SIZES = {"n": (1, 3, 33), "k": (1, 3), "f": (3, 7, 33), "top": (1, 3, 40)}
EXAMPLES = (
    {"n": 0, "k": 3, "f": 7, "top": 2},
    {"n": 200, "k": 2, "f": 3, "top": 5},
    {"n": 33, "k": 7, "f": 33, "top": 1},
)
COMPILED = tuple(
    {"n": 8192, "k": k, "f": f, "top": top}
    for k, f in ((32, 24576), (64, 131072))
    for top in (5, 64)
)


def make(generator: torch.Generator, *, n: int, k: int, f: int, top: int, zeros: bool) -> dict:
    """A code whose tokens name a latent once; `zeros` adds padding and a silent latent."""
    indices = torch.rand(n, f, generator=generator).argsort(1)[:, :k]
    values = torch.randint(1, 9, (n, k), generator=generator) / 4
    if zeros:
        values[:, 0], indices[:, 0] = 0, 0
        values = torch.where(indices == f - 1, 0.0, values)
    return {"indices": indices, "values": values, "n_latents": f, "top": top}
