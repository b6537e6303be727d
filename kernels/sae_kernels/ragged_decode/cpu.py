"""Ragged decode on the CPU: O(m d) forward and backward, nothing of size m × d is held."""

from __future__ import annotations

import torch

from sae_kernels.code_cpu import uneven_code
from sae_kernels.code_product import decoded
from sae_kernels.code_sort import CodeSort
from sae_kernels.ragged import RaggedCode


def ragged_decode(
    code: RaggedCode, dictionary: torch.Tensor, bias: torch.Tensor, *, sort: CodeSort | None
) -> torch.Tensor:
    """bias + Σ_{j: rows_j = n} values_j · dictionary[columns_j], (n, d)."""
    entries = uneven_code(code.rows, code.columns, code.n_rows, sort)
    return decoded(entries, code.values, dictionary, bias)
