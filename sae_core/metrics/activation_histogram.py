"""How strongly each latent fires when it fires: a histogram of its activations.

It has no number of its own; it fills two columns of the table `latents`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sae_core.metrics.tally_metric import Seen, Subject, Tally, TallyMetric, no_values

if TYPE_CHECKING:
    import numpy as np

# Bins of half an octave, 14 octaves below and 6 above the norm that activations have on average:
# no latent of a sound SAE fires beyond; what does is counted in the outermost bins.
BINS, BINS_BELOW = 40, 28


class _Tally:
    """Counts (f, BINS) of activations by size: bins are the same for all latents of an SAE."""

    def __init__(self, subject: Subject) -> None:
        import torch

        f, d = subject.dictionary.shape
        self.lowest = d**0.5 / subject.input_scale * 2.0 ** (-BINS_BELOW / 2)
        self.counts = torch.zeros(f, BINS, dtype=torch.int64)

    def add(self, seen: Seen) -> None:
        import torch

        code = seen.reconstruction.code
        fired = code.fired.cpu()
        latents, values = code.indices.cpu()[fired], code.values.cpu()[fired].double()
        bins = (2 * (values / self.lowest).log2()).floor().long().clamp(0, BINS - 1)
        self.counts += torch.bincount(latents * BINS + bins, minlength=self.counts.numel()).view_as(
            self.counts
        )

    def result(self) -> Mapping[str, np.ndarray]:
        """`counts` (f, BINS); bin j holds activations from lowest 2^(j/2) to lowest 2^((j+1)/2)."""
        import torch

        return {"counts": self.counts.numpy(), "lowest": torch.tensor(self.lowest).numpy()}


def _start(subject: Subject) -> Tally:
    return _Tally(subject)


METRIC = TallyMetric(definitions=(), version=1, start=_start, of="code", values=no_values)
