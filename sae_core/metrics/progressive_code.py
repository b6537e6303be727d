"""How good a code is when only its strongest latents are kept: every number of them in one sweep.

It fills the table `progressive_code` and has no number of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sae_core.metrics.tally_metric import Seen, SplicingTally, Subject, TallyMetric, no_values

if TYPE_CHECKING:
    import numpy as np
    import torch

    from sae_core.code import SparseCode

MOST = 10


class _Tally:
    """Errors (D, k' + 1) per document, in float64, as wide as the largest L0 seen."""

    def __init__(self, subject: Subject) -> None:
        import torch

        self.subject = subject
        self.norms = torch.linalg.vector_norm(subject.dictionary, dim=1)
        self.errors = torch.zeros(subject.n_documents, 1, dtype=torch.float64)
        self.active = torch.zeros(subject.n_documents, 1, dtype=torch.float64)

    def _strongest_first(self, code: SparseCode) -> tuple[torch.Tensor, torch.Tensor]:
        from sae_core.code_order import reordered

        size = code.values * self.norms.to(code.values)[code.indices]
        return reordered(code.indices, code.values, -size)

    def add(self, seen: Seen) -> None:
        import torch

        from sae_core.code_order import errors_along

        one, subject = seen.reconstruction, self.subject
        indices, values = self._strongest_first(one.code)
        widest = int((values > 0).sum(1).max())
        indices, values = indices[:, :widest], values[:, :widest]
        dictionary, bias = (part.to(one.x.device) for part in (subject.dictionary, subject.bias))
        errors = errors_along(one.x, indices, values, dictionary, bias)
        reached = torch.cat([torch.zeros_like(errors[:, :1]), values > 0], 1).cumsum(1)
        self._widen(errors.shape[1])
        missing = self.errors.shape[1] - errors.shape[1]
        for mine, new in ((self.errors, errors), (self.active, reached)):
            new = new.double().cpu()
            last = new[:, -1:].expand(-1, missing)
            mine.index_add_(0, seen.documents.cpu(), torch.cat([new, last], 1))

    def _widen(self, width: int) -> None:
        import torch

        missing = width - self.errors.shape[1]
        if missing > 0:
            for name in ("errors", "active"):
                now = getattr(self, name)
                setattr(self, name, torch.cat([now, now[:, -1:].expand(-1, missing)], 1))

    def codes(self, code: SparseCode) -> Mapping[str, SparseCode]:
        """The 1, 2, 4, … strongest latents of each token, up to all of the largest L0 seen."""
        indices, values = self._strongest_first(code)
        found, kept = {}, 1
        while kept < 2 * (self.errors.shape[1] - 1) and len(found) < MOST:
            found[str(kept)] = code._replace(indices=indices[:, :kept], values=values[:, :kept])
            kept *= 2
        return found

    def result(self) -> Mapping[str, np.ndarray]:
        """`errors` and `active` (D, k + 1): sums of ‖e_k'‖² and of min(k', L0) per document."""
        return {"errors": self.errors.numpy(), "active": self.active.numpy()}


def _start(subject: Subject) -> SplicingTally:
    return _Tally(subject)


METRIC = TallyMetric(definitions=(), version=1, start=_start, values=no_values, splices=True)
