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


def power_cumulative(n_latents: int, power: float) -> torch.Tensor:
    """P(length <= m) for m = 0 ... f, float64, of lengths in [1, f) that fall off as length^−power.

    length = ⌊X⌋, X of density ∝ x^−γ on [1, f), γ = `power` >= 0: P(length <= m) =
    (1 − (m + 1)^(1 − γ)) / (1 − f^(1 − γ)), in the limit log(m + 1) / log f at γ = 1. At γ = 0 all
    lengths 1 ... f − 1 are alike; a Pareto distribution with α, cut off at f, is γ = 1 + α. f >= 2.
    """
    ends = torch.arange(1, n_latents + 1, dtype=torch.float64)
    mass = ends.log() if power == 1 else 1 - ends ** (1 - power)
    return torch.cat([mass / mass[-1], mass.new_ones(1)])


def power_lengths(n: int, n_latents: int, power: float, *, draws: torch.Generator) -> torch.Tensor:
    """n independent lengths (n,) int64 in [1, f) of that distribution."""
    uniform = torch.rand(n, generator=draws, dtype=torch.float64)
    return torch.searchsorted(power_cumulative(n_latents, power), uniform, right=True)


def prefix_weights(code: RaggedCode, cumulative: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What each nested error of a code weighs: after each latent (m,), and of the bias alone (n,).

    The latents i_1 < ... < i_k of a token are those of a prefix of length l, up to the j-th, where
    i_j < l <= i_{j+1}, with i_{k+1} = f: the weight is C[i_{j+1}] − C[i_j], and C[i_1] alone.
    `cumulative` C (f + 1,), float64: its differences are small beside it.
    """
    whole = cumulative[-1]
    at = torch.where(code.values == 0, whole, cumulative[code.columns])  # padding weighs nothing
    ends = torch.ones_like(code.rows, dtype=torch.bool)
    ends[:-1] = code.rows[1:] != code.rows[:-1]
    following = torch.where(ends, whole, at.roll(-1))
    # C does not fall, so that the smallest of a token's values is that of its first latent.
    alone = whole.repeat(code.n_rows).scatter_reduce(0, code.rows, at, "amin")
    return (following - at).to(code.values.dtype), alone.to(code.values.dtype)
