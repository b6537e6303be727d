"""The closest row of another dictionary, by cosine, both ways."""

from __future__ import annotations

import torch

from sae_kernels.dispatch import implementation
from sae_kernels.max_cosine.reference import MaxCosine

__all__ = ["MaxCosine", "max_cosine"]


def max_cosine(a: torch.Tensor, b: torch.Tensor, *, block: int = 2048) -> MaxCosine:
    """Largest cosine of every row of `a` (f, d) with rows of `b` (g, d), and the other way round.

    value_ab_i = max_j cos(a_i, b_j), index_ab_i the lowest such j; value_ba, index_ba likewise.
    The mean of value_ab is the MMCS from a to b. Rows need not be unit; a zero row has cosine 0
    with everything. Holds block² cosines at a time, never f × g. Not differentiable.
    Raises ValueError when the widths differ, a dictionary is empty or block < 1.
    Reference: Sharkey, Braun and Millidge, "Taking features out of superposition with sparse
    autoencoders" (2022).
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        raise ValueError(
            f"max_cosine got {tuple(a.shape)} and {tuple(b.shape)}. Allowed: (f, d) and (g, d) "
            "with f, g >= 1. Compare dictionaries of the same width."
        )
    if block < 1:
        raise ValueError(f"max_cosine got block = {block}. Allowed: 1 or more. Leave it at 2048.")
    run = implementation("max_cosine", a)
    return run.max_cosine(a, b, block=block)
