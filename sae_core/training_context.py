"""What a loss may know about the run besides its batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sae_core.language_model import ReadingModel
from sae_core.ranks import ALONE, Ranks, any_of, summed


@dataclass(frozen=True)
class Survey:
    """What is known of a whole batch of which a loss sees a part.

    `fired` (f,) bool latents that fire on some token; `spread` 0-d: Σ_n ‖e − ē‖² of the residual
    e = s x − s x̂; `n` tokens.
    """

    fired: torch.Tensor
    spread: torch.Tensor
    n: int


@dataclass(frozen=True)
class TrainingContext:
    """The state of a run before a step.

    `progress` share of the token budget seen; `tokens_seen` tokens; `since_fired` (f,) int64
    tokens since each latent fired; `dead_window` tokens; `total_variance` of what is
    reconstructed, in scaled units: s²·E‖x − mean‖²; `mean` (d,) of that, None where no loss needs
    it; `seed` of the SAE and number of the `step`, which key whatever a loss draws. Where the loss
    is of a part of a batch: `batch`, the whole one's tokens, and a `survey` of it once latents can
    be dead. `ranks` are those among which a batch is divided: this one's part is its `place`-th row
    and on. `language_model` is the frozen model that is trained through, None where there is none.
    """

    progress: float
    tokens_seen: int
    since_fired: torch.Tensor
    dead_window: int
    total_variance: float
    mean: torch.Tensor | None = None
    seed: int = 0
    step: int = 0
    survey: Survey | None = None
    batch: int | None = None
    language_model: ReadingModel | None = None
    ranks: Ranks = ALONE
    place: int = 0

    def dead_latents(self, fired: torch.Tensor, n: int) -> torch.Tensor | None:
        """Which latents (f,) bool are dead once this batch of n tokens, with `fired` (f,), counts.

        None where none can be: before the first window has passed, and on the CPU, where looking
        waits for nothing, where none is. With a survey, the batch is the surveyed one.
        """
        if self.survey is not None:
            fired, n = self.survey.fired, self.survey.n
        elif self.ranks.size > 1:
            n = self.batch
        if self.tokens_seen + n < self.dead_window:
            return None
        if self.survey is None:
            fired = any_of(fired, self.ranks)
        dead = advanced(self.since_fired, fired, n) >= self.dead_window
        return None if dead.device.type == "cpu" and not dead.any() else dead

    def residual_spread(self, error: torch.Tensor) -> torch.Tensor:
        """Σ_n ‖e − ē‖² of the detached residuals e (n, d); with a survey, their share of its own.

        Divided by it, sums over the parts of a batch average to the sum over the batch.
        """
        if self.survey is not None:
            return self.survey.spread * (len(error) / self.survey.n)
        if self.ranks.size == 1:
            return (error - error.mean(0)).square().sum()
        mean = summed(error.sum(0), self.ranks) / self.batch
        spread = summed((error - mean).square().sum(), self.ranks)
        return spread * (len(error) / self.batch)


def advanced(since_fired: torch.Tensor, fired: torch.Tensor, n: int) -> torch.Tensor:
    """The counters (f,) after n more tokens on which `fired` (f,) latents fired."""
    return (since_fired + n).masked_fill_(fired, 0)
