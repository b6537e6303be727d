"""Largest cosines on the CPU: blocks high and narrow, so that few rows are normalised again."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from sae_kernels.linear_product import linear_product
from sae_kernels.max_cosine.reference import MaxCosine, improve, nothing


@torch.no_grad()
def max_cosine(a: torch.Tensor, b: torch.Tensor, *, block: int) -> MaxCosine:
    """Largest cosines both ways; of equal ones the lowest index. No normalised copy of a or b."""
    best_ab, best_ba = nothing(a), nothing(b)
    high, narrow = 4 * block, max(1, block // 4)
    for i in range(0, len(a), high):
        rows = normalize(a[i : i + high])
        for j in range(0, len(b), narrow):
            columns = normalize(b[j : j + narrow])
            cosines = linear_product(rows, columns, columns.new_zeros(len(columns)))
            improve(best_ab, cosines, i, j)
            improve(best_ba, cosines.t(), j, i)
    return MaxCosine(*best_ab, *best_ba)
