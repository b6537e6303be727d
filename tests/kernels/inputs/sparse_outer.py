"""Inputs of sparse_outer."""

from __future__ import annotations

import torch

GRADIENTS = ("weights", "source")
SIZES = {"n": (1, 3, 33), "k": (1, 3, 33), "d": (1, 3, 33), "f": (1, 3, 33)}
EXAMPLES = (
    {"n": 0, "k": 3, "d": 5, "f": 7},
    {"n": 33, "k": 7, "d": 17, "f": 3},
    {"n": 3, "k": 2, "d": 4096, "f": 5},
)
COMPILED = (
    {"n": 8192, "k": 32, "d": 768, "f": 24576},
    {"n": 8192, "k": 64, "d": 2304, "f": 65536},
    {"n": 8192, "k": 64, "d": 4096, "f": 131072},
)


def make(generator: torch.Generator, *, n: int, k: int, d: int, f: int, zeros: bool) -> dict:
    """A code with repeated latents; `zeros` adds padding and a latent that no token uses."""
    indices = torch.randint(f, (n, k), generator=generator)
    weights = torch.randn(n, k, generator=generator)
    if zeros:
        weights[:, 0], indices[:, 0] = 0, 0
        indices[indices == f - 1] = 0
    return {
        "indices": indices,
        "weights": weights,
        "source": torch.randn(n, d, generator=generator),
        "n_latents": f,
    }
