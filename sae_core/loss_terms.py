"""What a training step's loss consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch


@dataclass(frozen=True)
class LossTerms:
    """The loss of one batch: `total` is what is minimised, `terms` name its unweighted parts.

    All are 0-d tensors. `terms["reconstruction"]` = mean over tokens of Σ_d (s x − s x̂)².
    `error` (n, d) is s x − s x̂, detached: resampling looks at it.
    """

    total: torch.Tensor
    terms: Mapping[str, torch.Tensor]
    error: torch.Tensor | None = None


class Activity(NamedTuple):
    """Which latents a training batch activated.

    `fired` (f,) bool: value > 0 on some token; `l0` 0-d: mean number of values > 0 per token;
    `smallest` 0-d: the smallest value > 0 that was kept, inf where nothing was or nobody asks.
    `notes` by name: what else the architecture's `observe` keeps of the batch, means over tokens.
    """

    fired: torch.Tensor
    l0: torch.Tensor
    smallest: torch.Tensor
    notes: Mapping[str, torch.Tensor] = MappingProxyType({})


def dense_activity(dense: torch.Tensor) -> Activity:
    """The activity of dense activations (n, f) >= 0."""
    on = dense > 0
    # No dense architecture needs `smallest`: it would take one more pass over (n, f).
    return Activity(on.any(0), on.sum() / dense.shape[0], dense.new_full((), torch.inf))


def activity_of(indices: torch.Tensor, values: torch.Tensor, *, n: int, f: int) -> Activity:
    """The activity of n tokens' active latents, given as any two tensors of one shape."""
    on = values > 0
    # Entries that did not fire go to an extra place behind the latents: no host sync, no gather.
    places = torch.where(on, indices, f).reshape(-1)
    fired = torch.zeros(f + 1, dtype=torch.bool, device=values.device)
    fired = fired.index_fill_(0, places, True)[:f]
    smallest = (
        torch.where(on, values, torch.inf).amin() if values.numel() else values.sum() + torch.inf
    )
    return Activity(fired, on.sum() / n, smallest)
