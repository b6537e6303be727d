"""One forward pass of a language model, as the harvest sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.study.names import Site

if TYPE_CHECKING:
    from pipeline.language_model.load import LanguageModel

Forward = Callable[[np.ndarray, Sequence[Site]], Mapping[Site, torch.Tensor]]
"""Token ids (b, t) and sites -> activations (b, t, d) of each site, on any device."""


def model_forward(lm: LanguageModel) -> Forward:
    """The forward of a loaded model: one pass for all sites, no further than the deepest."""
    from pipeline.language_model.capture import capture

    def forward(tokens: np.ndarray, sites: Sequence[Site]) -> Mapping[Site, torch.Tensor]:
        ids = torch.from_numpy(tokens.astype(np.int64)).to(lm.device)
        return capture(lm, ids, sites)

    return forward


def kept_rows(activations: torch.Tensor, kept: np.ndarray) -> torch.Tensor:
    """The rows (m, d) of activations (b, t, d) at the flat positions `kept` (m,)."""
    flat = activations.detach().flatten(0, 1)
    if len(kept) == len(flat):
        return flat
    return flat.index_select(0, torch.from_numpy(kept).to(flat.device))
