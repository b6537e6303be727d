"""Intervals of numbers that are counted per latent, from groups of documents.

Such a number (a share of dead latents, a mean entropy) is no function of sums over tokens, so a
thousand resamples would cost a thousand counts. Here the documents lie in 20 groups; the number is
counted again without each group, and resamples of the groups are made from these 20 by
linearisation, the same groups for every SAE of one text, so that differences are paired.
"""

from __future__ import annotations

import numpy as np

from sae_core.bootstrap import resample_counts

GROUPS = 20


def n_groups(n_documents: int) -> int:
    """Groups that D documents make: document i lies in group i mod this."""
    return min(GROUPS, n_documents)


def group_replicates(
    value: float, left_out: np.ndarray, n_resamples: int, *, seed: int
) -> np.ndarray | None:
    """Resamples (B,) of a number from its values without each of the G groups (G,).

    θ_b = θ + Σ_g (c_bg − 1) (G − 1)/G (θ̄ − θ_(−g)), c_bg how often group g enters resample b, θ̄
    the mean of the θ_(−g): exact for a mean over groups of equal size. None where there are fewer
    than 2 groups, where no group makes a difference, or where a value is not finite.
    Reference: Efron and Tibshirani, An Introduction to the Bootstrap (1993), sections 11.3, 20.6.
    """
    g = len(left_out)
    if g < 2 or not np.isfinite(left_out).all() or (left_out == left_out[0]).all():
        return None
    counts = resample_counts(g, n_resamples, seed=seed)
    influence = (g - 1) / g * (left_out.mean() - left_out)
    return value + (counts - 1) @ influence
