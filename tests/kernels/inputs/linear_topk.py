"""Inputs of linear_topk."""

from __future__ import annotations

import torch

from tests.kernels.layers import EXAMPLES, GRADIENTS, SIZES, quarters

__all__ = ["COMPILED", "EXAMPLES", "GRADIENTS", "SIZES", "make"]

COMPILED = (
    {"n": 8192, "k": 32, "d": 768, "f": 24576},
    {"n": 8192, "k": 64, "d": 2304, "f": 65536},
    {"n": 8192, "k": 64, "d": 4096, "f": 131072},
)


def make(generator: torch.Generator, *, k: int, **sizes: int) -> dict:
    """A layer."""
    return quarters(generator, **sizes) | {"k": k}
