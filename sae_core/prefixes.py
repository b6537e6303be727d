"""Weights on the prefixes of a dictionary: its first 1, 2, ... f latents.

A choice of prefixes is a cumulative weight C (f + 1,): C[m] is the weight of all lengths <= m.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sae_kernels import RaggedCode


def weights_on_lengths(lengths: Sequence[int], n_latents: int) -> torch.Tensor:
    """C (f + 1,), float64, with weight 1 on each of these lengths; repeated ones add up."""
    counts = torch.bincount(torch.tensor(lengths), minlength=n_latents + 1)
    return counts.double().cumsum(0)


def pareto_cumulative(n_latents: int, alpha: float) -> torch.Tensor:
    """P(length <= m) for m = 0 ... f, float64, length = ⌊X⌋, X Pareto(α) cut off to [1, f).

    P(length <= m) = (1 − (m + 1)^−α) / (1 − f^−α), in the limit log(m + 1) / log f at α = 0. Short
    prefixes are likelier the larger α; at α = −1 all lengths 1 ... f − 1 are alike. f >= 2.
    """
    ends = torch.arange(1, n_latents + 1, dtype=torch.float64)
    mass = ends.log() if alpha == 0 else 1 - ends**-alpha
    return torch.cat([mass / mass[-1], mass.new_ones(1)])


def pareto_lengths(n: int, n_latents: int, alpha: float, *, draws: torch.Generator) -> torch.Tensor:
    """n independent lengths (n,) int64 in [1, f) of that distribution."""
    uniform = torch.rand(n, generator=draws, dtype=torch.float64)
    return torch.searchsorted(pareto_cumulative(n_latents, alpha), uniform, right=True)


def prefix_weights(code: RaggedCode, cumulative: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What each nested error of a code weighs: after each latent (m,), and of the bias alone (n,).

    The latents i_1 < ... < i_k of a token are those of a prefix of length l, up to the j-th, where
    i_j < l <= i_{j+1}, with i_{k+1} = f: the weight is C[i_{j+1}] − C[i_j], and C[i_1] alone.
    `cumulative` C (f + 1,), float64: its differences are small beside it.
    """
    at, whole = cumulative[code.columns], cumulative[-1]
    ends = torch.ones_like(code.rows, dtype=torch.bool)
    ends[:-1] = code.rows[1:] != code.rows[:-1]
    following = torch.where(ends, whole, at.roll(-1))
    # C does not fall, so that the smallest of a token's values is that of its first latent.
    alone = whole.repeat(code.n_rows).scatter_reduce(0, code.rows, at, "amin")
    return (following - at).to(code.values.dtype), alone.to(code.values.dtype)
