"""What an SAE that is trained through a language model asks of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch


class Downstream(NamedTuple):
    """What a replaced site does to the frozen model behind it, each 0-d, with gradient.

    `kl`: mean over scored predictions of KL(clean ‖ spliced) in nats. `later`: mean over later
    sites l of Σ ‖h_l − h'_l‖² / Σ ‖h_l − h̄_l‖² over the batch's replaced tokens; 0 without any.
    """

    kl: torch.Tensor
    later: torch.Tensor


class Reading(NamedTuple):
    """One batch of n tokens, read by the untouched model.

    `x` (n, d) activations at the site, detached, 0 where not replaced; `replaced` (n,) bool: the
    tokens whose activations an SAE replaces; `splice`: from replacements (n, d), in raw units and
    with gradient, to what they do.
    """

    x: torch.Tensor
    replaced: torch.Tensor
    splice: Callable[[torch.Tensor], Downstream]


class ReadingModel(Protocol):
    """A frozen language model with one site that is read and replaced."""

    def read(self, batch: torch.Tensor) -> Reading:
        """The untouched model on a training batch (n, columns), whose rows are tokens."""
        ...
