"""The active latents of a batch when tokens may have different numbers of them."""

from __future__ import annotations

from typing import NamedTuple

import torch


class RaggedCode(NamedTuple):
    """m active latents of n tokens, ordered by token and then by latent.

    `rows` (m,) int64 tokens, `columns` (m,) int64 latents, `values` (m,) > 0, `n_rows` n.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor
    n_rows: int
