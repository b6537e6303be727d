"""What is left of an SAE without the latents that fire often: every cut from one sweep.

Order the latents by their firing frequency on the calibration split, the rarest first, and add a
token's active latents in this order: the error falls by a step for each. A cut keeps the rarest
latents, so its error is that of no latent at all plus the steps of those it keeps: one number per
latent holds all f cuts at once. The calibration split decides what is cut and held-out text says
what that costs. It fills the table `frequency_cuts` and has no number of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sae_core.metrics.tally_metric import Seen, SplicingTally, Subject, TallyMetric, no_values

if TYPE_CHECKING:
    import numpy as np

    from sae_core.code import SparseCode

STATED = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)  # the first cuts nothing


class _Tally:
    """Steps and fires (f,) float64; per document what the stated cuts leave: 7 · D · 2 numbers."""

    def __init__(self, subject: Subject) -> None:
        import torch

        self.subject = subject
        frequency = subject.calibration_frequency()
        self.frequency = frequency.double().cpu()
        device, f, d = subject.dictionary.device, len(frequency), subject.n_documents
        self.rank = self.frequency.argsort(stable=True).argsort().to(device)
        self.kept = torch.tensor([int((self.frequency <= tau).sum()) for tau in STATED])
        self.steps, self.fires = (torch.zeros(f, dtype=torch.float64) for _ in range(2))
        self.empty = torch.zeros((), dtype=torch.float64)
        self.documents = torch.zeros(len(STATED), d, 2, dtype=torch.float64)
        self.n_tokens = 0

    def add(self, seen: Seen) -> None:
        import torch

        from sae_core.code_order import errors_along, reordered

        one, subject = seen.reconstruction, self.subject
        ranks = self.rank.to(one.x.device)[one.code.indices]
        indices, values = reordered(one.code.indices, one.code.values, ranks.double())
        dictionary, bias = (part.to(one.x.device) for part in (subject.dictionary, subject.bias))
        errors = errors_along(one.x, indices, values, dictionary, bias)
        fired, documents = (values > 0).cpu(), seen.documents.cpu()
        steps = errors.double().diff(dim=1).cpu()
        self.n_tokens += len(fired)
        self.empty += errors[:, 0].double().sum().cpu()
        self.steps.index_add_(0, indices.cpu()[fired], steps[fired])
        self.fires += torch.bincount(indices.cpu()[fired], minlength=len(self.fires))
        sorted_ranks = self.rank.to(indices.device)[indices].masked_fill(
            values <= 0, len(self.rank)
        )
        for cut, kept in enumerate(self.kept):
            n_left = (sorted_ranks < kept).sum(1)
            left = errors.gather(1, n_left.unsqueeze(1)).squeeze(1)
            both = torch.stack([left.double(), n_left.double()], 1).cpu()
            self.documents[cut].index_add_(0, documents, both)

    def codes(self, code: SparseCode) -> Mapping[str, SparseCode]:
        """At each stated cut, where it drops something that the one above it does not."""
        rank, found, last = self.rank.to(code.indices.device), {}, -1
        for tau, kept in zip(STATED, self.kept.tolist(), strict=True):
            if kept != last:
                left = code.values.masked_fill(rank[code.indices] >= kept, 0.0)
                found[str(tau)] = code._replace(values=left)
            last = kept
        return found

    def result(self) -> Mapping[str, np.ndarray]:
        """Steps and fires per latent, the error of no latent, and the stated cuts' documents."""
        import numpy as np

        return {
            "frequency": self.frequency.numpy(),
            "steps": self.steps.numpy(),
            "fires": self.fires.numpy(),
            "empty_error": self.empty.numpy(),
            "n_tokens": np.array(self.n_tokens),
            "documents": self.documents.numpy(),
        }


def _start(subject: Subject) -> SplicingTally:
    return _Tally(subject)


METRIC = TallyMetric(definitions=(), version=1, start=_start, values=no_values, splices=True)
