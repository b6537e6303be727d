"""What an SAE's latents say on tokens that every SAE of the text keeps, so that pairs need no LM.

Kept are the tokens whose place in the text is a multiple of a power of two, which doubles until at
most 2²⁰ activations are left (8 MiB). Of two SAEs' samples one therefore holds the other's places,
but for tokens that only one of them measured. It has no number of its own: correlations between
matched latents come from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sae_core.metrics.tally_metric import Seen, Subject, Tally, TallyMetric, no_values

if TYPE_CHECKING:
    import numpy as np
    import torch

FIRST_STRIDE, MOST = 4, 2**20


class _Tally:
    """Places (n,), latents kept per token (n,), and the latents and activations (m,) in order."""

    def __init__(self, subject: Subject) -> None:
        self.n_latents = len(subject.dictionary)
        self.stride, self.n_entries = FIRST_STRIDE, 0
        self.parts: list[tuple[torch.Tensor, ...]] = []

    def add(self, seen: Seen) -> None:
        code = seen.reconstruction.code
        places = seen.places.to(code.indices.device)
        kept = places % self.stride == 0
        indices, values = code.indices[kept], code.values[kept]
        fired = values > 0
        part = (places[kept], fired.sum(1), indices[fired].int(), values[fired].float())
        self.parts.append(tuple(column.cpu() for column in part))
        self.n_entries += len(part[2])
        while self.n_entries > MOST:
            self.stride *= 2
            self.parts = [_thinned(one, self.stride) for one in self.parts]
            self.n_entries = sum(len(one[2]) for one in self.parts)

    def result(self) -> Mapping[str, np.ndarray]:
        """The sample as arrays; `firing_together.CodeSample` reads it."""
        import numpy as np
        import torch

        names = ("places", "counts", "latents", "values")
        columns = zip(*self.parts, strict=True)
        joined = [torch.cat(column).numpy() for column in columns]
        return dict(zip(names, joined, strict=True)) | {"n_latents": np.array(self.n_latents)}


def _thinned(part: tuple[torch.Tensor, ...], stride: int) -> tuple[torch.Tensor, ...]:
    places, counts, latents, values = part
    kept = places % stride == 0
    entries = kept.repeat_interleave(counts)
    return places[kept], counts[kept], latents[entries], values[entries]


def _start(subject: Subject) -> Tally:
    return _Tally(subject)


METRIC = TallyMetric(definitions=(), version=1, start=_start, values=no_values, of="code")
