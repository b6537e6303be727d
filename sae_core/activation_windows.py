"""How strongly latents fire on the tokens around places that are kept while a text goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from sae_core.code import SparseCode


class ActivationWindows:
    """For K places of each of f latents: that latent's activations around the place.

    `places` (f, K) int64 as last followed, −1 for none; `values` (f, K, before + 1 + after)
    float32, NaN at tokens that were not seen in the place's batch. A place is looked up in the
    batch it comes from, so a batch must hold whole rows of text. Holds 4 f K (before + after + 3)
    bytes, and about 100 bytes per new place and token of its window while a batch is taken in.
    """

    def __init__(self, n_latents: int, k: int, *, before: int, after: int) -> None:
        self.reach = torch.arange(-before, after + 1)
        self.places = torch.full((n_latents, k), -1, dtype=torch.int64)
        self.values = torch.full((n_latents, k, len(self.reach)), torch.nan)

    def follow(self, places: torch.Tensor, code: SparseCode, seen: torch.Tensor) -> None:
        """Makes `places` (f, K) the kept ones; new ones are of the batch `code` at `seen` (n,).

        `seen` ascends. Places that stay keep their values, wherever they moved to.
        """
        changed = (places != self.places).any(1).nonzero().squeeze(1)
        new, old = places[changed], self.places[changed]
        same = (new.unsqueeze(2) == old.unsqueeze(1)) & (new >= 0).unsqueeze(2)
        held, source = same.any(2), same.int().argmax(2)
        index = source.unsqueeze(2).expand(-1, -1, len(self.reach))
        values = self.values[changed].gather(1, index)
        values[~held] = torch.nan
        row, column = (~held & (new >= 0)).nonzero(as_tuple=True)
        values[row, column] = self._looked_up(changed[row], new[row, column], code, seen)
        self.places[changed], self.values[changed] = new, values

    def _looked_up(
        self, latents: torch.Tensor, places: torch.Tensor, code: SparseCode, seen: torch.Tensor
    ) -> torch.Tensor:
        """Activations (m, w) of latents (m,) on the tokens around places (m,)."""
        n = len(seen)
        around = places.unsqueeze(1) + self.reach
        token = torch.searchsorted(seen, around).clamp_max(n - 1)
        is_seen = seen[token] == around
        fired = code.fired.cpu()
        key = code.indices.cpu() * n + torch.arange(n).unsqueeze(1)
        keys, order = key[fired].sort()
        strengths = code.values.cpu()[fired].float()[order]
        wanted = latents.unsqueeze(1) * n + token
        found = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        values = torch.where(keys[found] == wanted, strengths[found], 0.0)
        return values.masked_fill(~is_seen, torch.nan)
