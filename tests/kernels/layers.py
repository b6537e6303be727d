"""A linear layer for the tests of operations that choose among its outputs."""

from __future__ import annotations

import torch

GRADIENTS = ("x", "weight", "bias")
SIZES = {"n": (1, 3, 7), "d": (1, 3, 33), "f": (33, 64, 200), "k": (1, 2, 33)}
EXAMPLES = (
    {"n": 0, "d": 3, "f": 9, "k": 2},
    {"n": 3, "d": 7, "f": 1, "k": 1},
    {"n": 5, "d": 20, "f": 64, "k": 64},
    {"n": 2, "d": 4096, "f": 33, "k": 3},
    {"n": 3, "d": 16, "f": 200, "k": 1},
    {"n": 5, "d": 16, "f": 300, "k": 7},
    {"n": 5, "d": 33, "f": 33, "k": 33},
)


def quarters(generator: torch.Generator, *, n: int, d: int, f: int, zeros: bool) -> dict:
    """x, weight and bias of multiples of 1/4: exact sums, and equal values are many.

    `zeros` adds a zero token and latents that fire for no token.
    """
    x = torch.randint(-4, 5, (n, d), generator=generator) / 4
    weight = torch.randint(-4, 5, (f, d), generator=generator) / 4
    bias = torch.randint(-4, 5, (f,), generator=generator) / 4
    if zeros:
        x[:1], weight[: f // 2], bias[: f // 2] = 0, 0, -1
    return {"x": x, "weight": weight, "bias": bias}
