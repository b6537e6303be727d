"""The entries of a code sorted by latent: one sort that every gradient by latent can use."""

from __future__ import annotations

from typing import NamedTuple

import torch


class LatentOrder(NamedTuple):
    """`order` (m,) sorts entries by latent; latent i has order[starts[i] : starts[i + 1]].

    Entries of one latent keep their order, so sums over them have the same bits every time.
    Entries of value 0 (padding) belong to no latent.
    """

    order: torch.Tensor
    starts: torch.Tensor


def latent_order(indices: torch.Tensor, values: torch.Tensor, *, n_latents: int) -> LatentOrder:
    """Sorts the entries of a code, `indices` and `values` of one shape, by latent."""
    columns = torch.where(values == 0, n_latents, indices).reshape(-1).to(torch.int32)
    columns, order = columns.sort(stable=True)
    latents = torch.arange(n_latents + 1, dtype=torch.int32, device=columns.device)
    return LatentOrder(order, torch.searchsorted(columns, latents))
