"""Where JumpReLU's thresholds start where an L0 is aimed at: where it is reached already.

From one small value the L0 at the start is a random encoder's, hundreds of latents, and a step
moves a threshold by about lr at most: a short run never comes down to a small L0.
"""

from __future__ import annotations

import torch
from torch.nn.functional import linear

from sae_core.sae import Sae

_ENTRIES = 2**24  # pre-activations that are held at once


@torch.no_grad()
def shared_out(sae: Sae, rows: torch.Tensor | None, target: float) -> torch.Tensor:
    """θ (f,) >= 0 above which each latent fires on a share L0* / f of the rows (m, d).

    z = W_enc (s x − b_dec) + b_enc. So `target` L0* are active on average, and no latent starts
    dead or on most tokens. A latent that is positive on fewer rows than that gets 0.
    Raises ValueError without rows.
    """
    if rows is None or len(rows) == 0:
        raise ValueError(
            f"thresholds that start at target_l0 = {target} got no rows. Allowed: at least one. "
            "Pass init_rows, or set threshold_init."
        )
    centred = sae.centred(rows.to(sae.b_dec.device))
    m = len(centred)
    above = min(m - 1, round(m * target / sae.n_latents))
    found = [
        linear(centred, W_enc, b_enc).kthvalue(m - above, dim=0).values
        for W_enc, b_enc in zip(
            sae.W_enc.split(max(1, _ENTRIES // m)),
            sae.b_enc.split(max(1, _ENTRIES // m)),
            strict=True,
        )
    ]
    return torch.cat(found).clamp(min=0)
