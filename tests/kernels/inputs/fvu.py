"""Inputs of fvu, with a mean many times larger than the spread."""

from __future__ import annotations

import torch

GRADIENTS = ("x", "x_hat")
SIZES = {"n": (1, 3, 33, 150), "d": (1, 3, 33, 300)}
EXAMPLES = ({"n": 3, "d": 4096}, {"n": 130, "d": 33})
COMPILED = ({"n": 8192, "d": 768}, {"n": 8192, "d": 2304})


def make(generator: torch.Generator, *, n: int, d: int, zeros: bool) -> dict:
    """Tokens and reconstructions; `zeros`: all tokens equal, so that there is no variance."""
    x = torch.randint(-64, 65, (n, d), generator=generator) / 64 + 4
    if zeros:
        x = x[:1].expand(n, d)
    error = torch.randint(-16, 17, (n, d), generator=generator) / 32
    return {"x": x, "x_hat": x + error}
