"""Ragged decode in plain differentiable torch: the judge. Holds m × d values."""

from __future__ import annotations

import torch

from sae_kernels.code_sort import CodeSort
from sae_kernels.ragged import RaggedCode


def ragged_decode(
    code: RaggedCode, dictionary: torch.Tensor, bias: torch.Tensor, *, sort: CodeSort | None
) -> torch.Tensor:
    """bias + Σ_{j: rows_j = n} values_j · dictionary[columns_j], (n, d)."""
    weighted = code.values.unsqueeze(-1) * dictionary[code.columns]
    sums = weighted.new_zeros(code.n_rows, dictionary.shape[1])
    return sums.index_add(0, code.rows, weighted) + bias
