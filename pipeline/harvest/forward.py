"""One forward pass of a language model, as the harvest sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.study.names import Site

if TYPE_CHECKING:
    from pipeline.language_model.load import LanguageModel


@dataclass(frozen=True)
class TextRows:
    """Token ids (b, t) of a split's packed rows from number `start` on."""

    split: str
    start: int
    ids: np.ndarray


Take = Callable[[Site, torch.Tensor], None]
"""Gets the activations (b, t, d) of a site, on any device; they hold until it returns."""

Forward = Callable[[TextRows, Sequence[Site], Take], None]
"""Rows of text, sites, and what takes each site's activations as soon as they are there."""


def model_forward(lm: LanguageModel) -> Forward:
    """The forward of a loaded model: one pass for all sites, no further than the deepest."""
    from pipeline.language_model.capture import read_sites

    def forward(text: TextRows, sites: Sequence[Site], take: Take) -> None:
        ids = torch.from_numpy(text.ids.astype(np.int64)).to(lm.device)
        read_sites(lm, ids, sites, take)

    return forward


def kept_rows(activations: torch.Tensor, kept: np.ndarray) -> torch.Tensor:
    """The rows (m, d) of activations (b, t, d) at the flat positions `kept` (m,)."""
    flat = activations.detach().flatten(0, 1)
    if len(kept) == len(flat):
        return flat
    return flat.index_select(0, torch.from_numpy(kept).to(flat.device))
