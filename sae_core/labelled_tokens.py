"""Tokens with labels, for probes: what is true of each token, known from the text alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class LabelledTokens:
    """m tokens of a text at ascending `places` (m,), with `labels` (m, L) bool by `names`.

    `is_xor` (L,): which labels are the exclusive or of two others. `tokens` and `previous` (m,) are
    the ids of the token and of the one before it in the same document, −1 where there is none.
    `is_test` (m,): probes are fitted on the other tokens and judged on these; a document lies on
    one side. `clusters` (m,) numbers the test documents, in [0, G) there; more than G documents
    share numbers. `resamples` (B, G): how often each cluster is drawn. `n_documents` are labelled,
    `n_left_out` could not be.
    """

    names: tuple[str, ...]
    is_xor: tuple[bool, ...]
    places: torch.Tensor
    labels: torch.Tensor
    tokens: torch.Tensor
    previous: torch.Tensor
    is_test: torch.Tensor
    clusters: torch.Tensor
    resamples: np.ndarray
    n_documents: int
    n_left_out: int

    def find(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of places (n,): which are labelled, (n,) bool, and the numbers of those tokens here."""
        if not len(self.places):
            return torch.zeros_like(places, dtype=torch.bool), places[:0]
        at = torch.searchsorted(self.places, places).clamp_max(len(self.places) - 1)
        known = self.places[at] == places
        return known, at[known]

    def only(self, kept: torch.Tensor) -> LabelledTokens:
        """The tokens of numbers `kept` alone, ascending."""
        columns = ("places", "labels", "tokens", "previous", "is_test", "clusters")
        parts = {name: getattr(self, name)[kept] for name in columns}
        return LabelledTokens(**{**vars(self), **parts})
