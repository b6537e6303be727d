"""How often each latent fires on given activations."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from sae_core.sae import Sae

_ROWS = 4096


@torch.no_grad()
def firing_frequency(sae: Sae, batches: Iterable[torch.Tensor]) -> torch.Tensor:
    """The share of activations x (n, d) of all batches on which each latent fires, (f,) float64.

    Raises ValueError where there are none.
    """
    fires, n = torch.zeros(sae.n_latents, dtype=torch.int64), 0
    for batch in batches:
        for x in batch.split(_ROWS):
            code = sae.encode(x.to(sae.W_enc.device))
            fires += torch.bincount(code.indices[code.fired].cpu(), minlength=sae.n_latents)
            n += len(x)
    if not n:
        raise ValueError("firing frequencies need at least one activation; none was given.")
    return fires.double() / n
