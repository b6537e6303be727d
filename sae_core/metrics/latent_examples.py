"""Where each latent fires: its strongest places in the text, and places drawn evenly from all.

Each place comes with the latent's activations on the tokens around it. It has no number of its
own; it fills the table `latent_examples`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sae_core.metrics.tally_metric import Seen, Subject, Tally, TallyMetric, no_values

if TYPE_CHECKING:
    import numpy as np
    import torch

TOP = 5
DRAWN = 16
QUANTILES = (0.25, 0.5, 0.75)
BEFORE, AFTER = 12, 4


class _Tally:
    """Per latent the TOP strongest fires and DRAWN others, drawn by a hash of latent and place.

    A hash and no generator: what is drawn does not depend on batches. Around each place it keeps
    the latent's activations on the BEFORE + 1 + AFTER tokens. Holds 2,000 bytes per latent, less
    than the SAE's own rows from d = 250 on.
    """

    def __init__(self, subject: Subject) -> None:
        from sae_core.activation_windows import ActivationWindows
        from sae_core.top_entries import TopEntries

        f = len(subject.dictionary)
        self.strongest, self.drawn = TopEntries(f, TOP), TopEntries(f, DRAWN)
        self.around_strongest = ActivationWindows(f, TOP, before=BEFORE, after=AFTER)
        self.around_drawn = ActivationWindows(f, DRAWN, before=BEFORE, after=AFTER)
        self.n_tokens = 0

    def add(self, seen: Seen) -> None:
        code = seen.reconstruction.code
        fired = code.fired
        latents, values = code.indices[fired].cpu(), code.values[fired].cpu().float()
        at = seen.places.cpu()
        places = at.unsqueeze(1).expand_as(fired)[fired.cpu()]
        self.n_tokens += len(fired)
        self.strongest.add(latents, values.double(), places, values)
        self.drawn.add(latents, _hash(latents, places), places, values)
        self.around_strongest.follow(self.strongest.payload, code, at)
        self.around_drawn.follow(self.drawn.payload, code, at)

    def result(self) -> Mapping[str, np.ndarray]:
        """`top_*` (f, 5) by activation, `quantile_*` (f, 3): places (−1: none) and activations.

        `*_window` (f, ·, 17): activations on the tokens around, NaN where none was measured.
        """
        import torch

        places, values = self.drawn.payload, self.drawn.value
        order = values.masked_fill(places < 0, torch.inf).argsort(dim=1, stable=True)
        n = (places >= 0).sum(1, keepdim=True)
        share = torch.tensor(QUANTILES).unsqueeze(0)
        at = order.gather(1, ((n - 1).clamp_min(0) * share).round().long())
        around = self.around_drawn.values
        window = at.unsqueeze(2).expand(-1, -1, around.shape[2])
        return {
            "top_place": self.strongest.payload.numpy(),
            "top_value": self.strongest.value.numpy(),
            "quantile_place": places.gather(1, at).numpy(),
            "quantile_value": values.gather(1, at).numpy(),
            "top_window": self.around_strongest.values.numpy(),
            "quantile_window": around.gather(1, window).numpy(),
            "n_tokens": torch.tensor(self.n_tokens).numpy(),
        }


def _hash(latents: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Numbers in [0, 1) that look random; wraps around in int64, as splitmix64 does."""
    mixed = places * 0x9E3779B97F4A7C1 + latents * 0x2545F4914F6CDD1D
    for shift, factor in ((30, 0x3F58476D1CE4E5B9), (27, 0x14D049BB133111EB)):
        mixed = (mixed ^ ((mixed >> shift) & (2 ** (64 - shift) - 1))) * factor
    mixed = mixed ^ ((mixed >> 31) & (2**33 - 1))
    return ((mixed >> 11) & (2**53 - 1)).double() / 2.0**53


def _start(subject: Subject) -> Tally:
    return _Tally(subject)


METRIC = TallyMetric(definitions=(), version=2, start=_start, of="code", values=no_values)
