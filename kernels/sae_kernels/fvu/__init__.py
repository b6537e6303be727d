"""Squared error and variance of a batch, the two halves of the fraction of variance unexplained."""

from __future__ import annotations

from typing import NamedTuple

import torch

from sae_kernels.dispatch import implementation


class Fvu(NamedTuple):
    """`error` Σ‖x − x̂‖² and `variance` Σ‖x − x̄‖², 0-d; their quotient is the FVU."""

    error: torch.Tensor
    variance: torch.Tensor


def fvu(x: torch.Tensor, x_hat: torch.Tensor) -> Fvu:
    """Σ_n ‖x_n − x̂_n‖² and Σ_n ‖x_n − x̄‖², x̄ the mean of the batch, from one read of both.

    `x` and `x_hat` (n, d). Differentiable in both. The quotient is left to the caller: of several
    batches numerators and denominators are summed first. Raises ValueError when the shapes differ
    or there is no token.
    """
    if x.ndim != 2 or x.shape != x_hat.shape or not len(x):
        raise ValueError(
            f"fvu got x {tuple(x.shape)} and x_hat {tuple(x_hat.shape)}. Allowed: both (n, d) with "
            "n >= 1. Compare reconstructions with the tokens they were made from."
        )
    run = implementation("fvu", x)
    return Fvu(*run.fvu(x, x_hat))
