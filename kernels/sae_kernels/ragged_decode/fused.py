"""Ragged decode on the GPU: forward and backward read only the dictionary rows that are active."""

from __future__ import annotations

import torch

from sae_kernels.code_fused import behind, uneven_code
from sae_kernels.code_product import decoded
from sae_kernels.code_sort import CodeSort
from sae_kernels.ragged import RaggedCode


def ragged_decode(
    code: RaggedCode, dictionary: torch.Tensor, bias: torch.Tensor, *, sort: CodeSort | None
) -> torch.Tensor:
    """bias + Σ_{j: rows_j = n} values_j · dictionary[columns_j], (n, d)."""
    rows = behind(code.rows, code.values.detach(), code.n_rows)
    entries = uneven_code(rows, code.columns, code.n_rows, sort)
    return decoded(entries, code.values, dictionary, bias)
