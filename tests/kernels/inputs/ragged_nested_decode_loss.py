"""Inputs of ragged_nested_decode_loss: those of ragged_decode, a target and weights."""

from __future__ import annotations

import torch

from tests.kernels.inputs import ragged_decode
from tests.kernels.inputs.ragged_decode import COMPILED, EXAMPLES, SIZES

__all__ = ["COMPILED", "EXAMPLES", "GRADIENTS", "SIZES", "make"]

GRADIENTS = ("x", *ragged_decode.GRADIENTS)


def make(generator: torch.Generator, *, n: int, m: int, d: int, f: int, zeros: bool) -> dict:
    """m entries spread over n tokens, some without any; `zeros` leaves the last token empty."""
    return {
        **ragged_decode.make(generator, n=n, m=m, d=d, f=f, zeros=zeros),
        "x": torch.randn(n, d, generator=generator),
        "weights": torch.rand(m, generator=generator),
        "bias_weights": torch.rand(n, generator=generator),
    }
