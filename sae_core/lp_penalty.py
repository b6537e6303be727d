"""The Lp penalty on activations, with a gradient that stays finite."""

from __future__ import annotations

import torch


def lp_penalty(a: torch.Tensor, p: float, *, floor: float) -> torch.Tensor:
    """mean_n Σ_i |a_ni|^p of activations a (n, f) >= 0, 0-d; below `floor` > 0 linear in a.

    a^p = a · max(a, floor)^(p − 1): exact from `floor` on. Below it the derivative is
    floor^(p − 1); that of a^p itself is unbounded at 0 where p < 1. 0 at a = 0 for every p, p = 0
    among them; at p = 1 the mean sum, bit for bit.
    """
    if p == 1:
        return a.sum() / len(a)
    return (a * a.clamp(min=floor).pow(p - 1)).sum() / len(a)
