"""Inputs of linear_batch_topk: multiples of 1/4, so that sums are exact and equal values many."""

from __future__ import annotations

import torch

GRADIENTS = ("x", "weight", "bias")
SIZES = {"n": (1, 3, 33), "d": (1, 3, 33), "f": (1, 33, 200), "count": (1, 7, 99, 10_000)}
EXAMPLES = (
    {"n": 5, "d": 33, "f": 33, "count": 165},
    {"n": 3, "d": 4096, "f": 40, "count": 9},
    {"n": 40, "d": 16, "f": 700, "count": 300},
)


def make(generator: torch.Generator, *, n: int, d: int, f: int, count: int, zeros: bool) -> dict:
    """A layer; `zeros` adds a zero token and latents that fire for no token."""
    x = torch.randint(-4, 5, (n, d), generator=generator) / 4
    weight = torch.randint(-4, 5, (f, d), generator=generator) / 4
    bias = torch.randint(-4, 5, (f,), generator=generator) / 4
    if zeros:
        x[:1], weight[: f // 2], bias[: f // 2] = 0, 0, -1
    return {"x": x, "weight": weight, "bias": bias, "count": count}
