"""The sparse activations of a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch


class SparseCode(NamedTuple):
    """Active latents of n tokens: `indices` (n, k) int64, `values` (n, k) >= 0, `n_latents` f.

    Padding is index 0 with value 0.0; a latent fired on a token where its value is > 0.
    """

    indices: torch.Tensor
    values: torch.Tensor
    n_latents: int

    def dense(self) -> torch.Tensor:
        """The same code as a dense (n, f) tensor."""
        full = self.values.new_zeros(self.values.shape[0], self.n_latents)
        return full.scatter_add(1, self.indices, self.values)

    @property
    def fired(self) -> torch.Tensor:
        """Where a latent fired, (n, k) bool."""
        return self.values > 0
