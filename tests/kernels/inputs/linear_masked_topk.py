"""Inputs of linear_masked_topk."""

from __future__ import annotations

import torch

from tests.kernels.layers import EXAMPLES, GRADIENTS, SIZES, quarters

__all__ = ["COMPILED", "EXAMPLES", "GRADIENTS", "SIZES", "make"]

COMPILED = (
    {"n": 8192, "k": 512, "d": 768, "f": 24576},
    {"n": 8192, "k": 1024, "d": 2304, "f": 65536},
    {"n": 8192, "k": 2048, "d": 4096, "f": 131072},
)


def make(generator: torch.Generator, *, n: int, d: int, f: int, k: int, zeros: bool) -> dict:
    """A layer of which every second output is allowed, or with `zeros` every tenth."""
    layer = quarters(generator, n=n, d=d, f=f, zeros=zeros)
    mask = torch.rand(f, generator=generator) < (0.1 if zeros else 0.5)
    return layer | {"mask": mask, "k": k}
