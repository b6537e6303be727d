"""Inputs of linear_batch_topk."""

from __future__ import annotations

import torch

from tests.kernels.layers import GRADIENTS, quarters

__all__ = ["COMPILED", "EXAMPLES", "GRADIENTS", "SIZES", "make"]

SIZES = {"n": (1, 3, 9), "d": (1, 3, 33), "f": (1, 33, 200), "count": (1, 7, 99, 10_000)}
EXAMPLES = (
    {"n": 5, "d": 33, "f": 33, "count": 165},
    {"n": 2, "d": 4096, "f": 33, "count": 9},
    {"n": 9, "d": 16, "f": 300, "count": 60},
)
COMPILED = (
    {"n": 8192, "d": 768, "f": 24576, "count": 8192 * 32},
    {"n": 8192, "d": 2304, "f": 65536, "count": 8192 * 64},
    {"n": 8192, "d": 4096, "f": 131072, "count": 8192 * 64},
)


def make(generator: torch.Generator, *, n: int, d: int, f: int, count: int, zeros: bool) -> dict:
    """A layer."""
    return quarters(generator, n=n, d=d, f=f, zeros=zeros) | {"count": count}
