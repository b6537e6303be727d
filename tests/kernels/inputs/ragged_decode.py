"""Inputs of ragged_decode."""

from __future__ import annotations

import torch
from sae_kernels import RaggedCode

GRADIENTS = ("code.values", "dictionary", "bias")
SIZES = {"n": (1, 3, 33), "m": (0, 1, 3, 33, 99), "d": (1, 3, 33), "f": (1, 3, 33)}
EXAMPLES = (
    {"n": 7, "m": 0, "d": 5, "f": 7},
    {"n": 5, "m": 99, "d": 17, "f": 33},
    {"n": 3, "m": 9, "d": 4096, "f": 5},
)
COMPILED = (
    {"n": 8192, "m": 262144, "d": 768, "f": 24576},
    {"n": 8192, "m": 524288, "d": 2304, "f": 65536},
    {"n": 8192, "m": 524288, "d": 4096, "f": 131072},
)


def make(generator: torch.Generator, *, n: int, m: int, d: int, f: int, zeros: bool) -> dict:
    """m entries spread over n tokens, some without any; `zeros` leaves the last token empty."""
    rows = torch.randint(max(1, n - zeros), (m,), generator=generator).sort().values
    code = RaggedCode(
        rows=rows,
        columns=torch.randint(f, (m,), generator=generator),
        values=torch.rand(m, generator=generator) + 0.1,
        n_rows=n,
    )
    return {
        "code": code,
        "dictionary": torch.randn(f, d, generator=generator),
        "bias": torch.randn(d, generator=generator),
    }
