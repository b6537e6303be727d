"""Inputs of max_cosine: signs over one power of four, so that cosines are exact and ties many."""

from __future__ import annotations

import torch

GRADIENTS = ()
SIZES = {"f": (1, 3, 33, 70), "g": (1, 3, 33, 70), "d": (1, 4, 16), "block": (1, 32, 2048)}
EXAMPLES = (
    {"f": 33, "g": 130, "d": 16, "block": 2048},
    {"f": 3, "g": 5, "d": 4096, "block": 2},
    {"f": 1, "g": 1, "d": 1, "block": 1},
)
COMPILED = ({"f": 32768, "g": 32768, "d": 512, "block": 2048},)


def make(generator: torch.Generator, *, f: int, g: int, d: int, block: int, zeros: bool) -> dict:
    """Two dictionaries of rows of ±1; `zeros` adds a zero row to each."""
    a = torch.randint(2, (f, d), generator=generator) * 2.0 - 1
    b = torch.randint(2, (g, d), generator=generator) * 2.0 - 1
    if zeros:
        a[-1], b[0] = 0, 0
    return {"a": a, "b": b, "block": block}
