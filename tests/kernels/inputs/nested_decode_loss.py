"""Inputs of nested_decode_loss."""

from __future__ import annotations

import torch

GRADIENTS = ("x", "values", "dictionary", "bias")
ALSO = {"nested_errors": ("x", "indices", "values", "dictionary", "bias")}
SIZES = {"n": (1, 3, 33), "k": (1, 3, 7), "d": (1, 3, 33), "f": (1, 3, 33), "shared": (0, 1)}
EXAMPLES = (
    {"n": 0, "k": 3, "d": 5, "f": 7, "shared": 0},
    {"n": 5, "k": 33, "d": 17, "f": 33, "shared": 1},
    {"n": 2, "k": 2, "d": 5000, "f": 5, "shared": 0},
)
COMPILED = (
    {"n": 8192, "k": 32, "d": 768, "f": 24576, "shared": 0},
    {"n": 8192, "k": 64, "d": 2304, "f": 65536, "shared": 0},
    {"n": 8192, "k": 64, "d": 4096, "f": 131072, "shared": 0},
)


def make(
    generator: torch.Generator, *, n: int, k: int, d: int, f: int, shared: int, zeros: bool
) -> dict:
    """A code with repeated latents; `shared` weights for all tokens; `zeros` adds padding."""
    indices = torch.randint(f, (n, k), generator=generator)
    values = torch.randn(n, k, generator=generator)
    weights = torch.rand(*(() if shared else (n,)), k + 1, generator=generator)
    if zeros:
        values[:, 0], indices[:, 0], weights[..., 0] = 0, 0, 0
        values[:1] = 0
    return {
        "x": torch.randn(n, d, generator=generator),
        "indices": indices,
        "values": values,
        "dictionary": torch.randn(f, d, generator=generator),
        "bias": torch.randn(d, generator=generator),
        "weights": weights,
    }
