"""A language model of two linear maps, whose site is the batch itself."""

from __future__ import annotations

import torch

from sae_core.language_model import Downstream, Reading


class ToyLanguageModel:
    """Every eighth token is left alone; logits (n, 64) and one later site (n, 24) follow from x.

    Activations are in units of `unit`.
    """

    def __init__(self, width: int = 32, *, unit: float = 1.0) -> None:
        self.unit = unit
        draws = torch.Generator().manual_seed(0)
        self.to_logits = torch.randn(width, 64, generator=draws) / 4
        self.to_later = torch.randn(width, 24, generator=draws) / 4

    def behind(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and the later site's activations."""
        x = x / self.unit
        later = torch.tanh(x @ self.to_later.to(x.dtype))
        return (x @ self.to_logits.to(x.dtype)).log_softmax(1), later

    def replaced(self, x: torch.Tensor) -> torch.Tensor:
        return torch.arange(len(x), device=x.device) % 8 != 7

    def read(self, batch: torch.Tensor) -> Reading:
        replaced = self.replaced(batch)
        clean, before = self.behind(batch)

        def splice(x_hat: torch.Tensor) -> Downstream:
            spliced, after = self.behind(torch.where(replaced[:, None], x_hat, batch))
            kl = (clean.exp() * (clean - spliced)).sum(1).mean()
            on = replaced[:, None]
            spread = (before - (before * on).sum(0) / on.sum()) * on
            return Downstream(kl, ((before - after) * on).square().sum() / spread.square().sum())

        return Reading(batch * replaced[:, None], replaced, splice)
