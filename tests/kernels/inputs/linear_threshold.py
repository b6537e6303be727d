"""Inputs of linear_threshold: values that lie on thresholds, and rows that overflow."""

from __future__ import annotations

import torch

from tests.kernels.layers import GRADIENTS, quarters

__all__ = ["COMPILED", "EXAMPLES", "GRADIENTS", "SIZES", "make"]

SIZES = {
    "n": (1, 3, 33),
    "d": (1, 3, 33),
    "f": (1, 33, 200),
    "each": (0, 1),
    "capacity": (1, 7, 512),
}
EXAMPLES = (
    {"n": 0, "d": 3, "f": 9, "each": 1, "capacity": 8},
    {"n": 2, "d": 4096, "f": 33, "each": 0, "capacity": 8},
    {"n": 35, "d": 16, "f": 300, "each": 1, "capacity": 50},
)
COMPILED = tuple(
    {"n": 8192, "d": d, "f": f, "each": each, "capacity": 512}
    for d, f in ((768, 24576), (2304, 65536), (4096, 131072))
    for each in (0, 1)
)


def make(
    generator: torch.Generator, *, n: int, d: int, f: int, each: int, capacity: int, zeros: bool
) -> dict:
    """A layer and thresholds, one for every output or one for all; `zeros`: some are below 0."""
    layer = quarters(generator, n=n, d=d, f=f, zeros=zeros)
    lowest = -4 if zeros else 0
    threshold = torch.randint(lowest, 9, (f,), generator=generator) / 4
    threshold = threshold if each else threshold[0]
    return layer | {"threshold": threshold, "capacity": capacity}
