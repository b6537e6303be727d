"""What a wider dictionary makes of a narrower one, latent by latent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SHARED_COSINE = 0.7
ABSORBED_COSINE = 0.3
UNCHANGED_COSINE = 0.9
WITHIN = 0.9
SILENT = 0.1

RULE = (
    f"shared: its one-to-one partner in the narrow dictionary has cosine >= {SHARED_COSINE}. "
    f"absorbed: not shared; its best match m has cosine >= {ABSORBED_COSINE} and fires on >= "
    f"{WITHIN:.0%} of its fires, while m's own partner in the wide dictionary, the rival, of "
    f"cosine >= {UNCHANGED_COSINE} with m, fires on <= {SILENT:.0%} of them: the wide dictionary "
    "kept m, but not where this latent fires. "
    f"split: neither; its best match has cosine >= {SHARED_COSINE}. novel: none of these."
)


def width_classes(
    cosine: np.ndarray,
    partner_cosine: np.ndarray,
    fires_with_best: np.ndarray,
    rival_cosine: np.ndarray,
    fires_with_rival: np.ndarray,
) -> np.ndarray:
    """The class of each of the wide dictionary's n living latents, (n,) of text, by RULE.

    `cosine` with the best match m; `partner_cosine` with the one-to-one partner;
    `fires_with_best`: share of a latent's fires on which m fires; `rival_cosine`: of m with m's
    partner in the wide dictionary; `fires_with_rival`: share of the fires on which that latent
    fires. What is unknown or does not exist is NaN.
    Reference: absorption: Chanin et al., A is for Absorption (2024), arXiv 2409.14507; novel and
    reconstruction latents: Leask et al., Sparse Autoencoders Do Not Find Canonical Units of
    Analysis (2025), arXiv 2502.04878.
    """
    import numpy as np

    shared = partner_cosine >= SHARED_COSINE
    absorbed = (
        (cosine >= ABSORBED_COSINE)
        & (fires_with_best >= WITHIN)
        & (rival_cosine >= UNCHANGED_COSINE)
        & (fires_with_rival <= SILENT)
    )
    split = cosine >= SHARED_COSINE
    return np.select([shared, absorbed, split], ["shared", "absorbed", "split"], "novel")
