"""Blockwise largest cosines in plain torch."""

from __future__ import annotations

from typing import NamedTuple

import torch


class MaxCosine(NamedTuple):
    """Largest cosines: `value_ab`, `index_ab` (f,) into b; `value_ba`, `index_ba` (g,) into a."""

    value_ab: torch.Tensor
    index_ab: torch.Tensor
    value_ba: torch.Tensor
    index_ba: torch.Tensor


@torch.no_grad()
def max_cosine(a: torch.Tensor, b: torch.Tensor, *, block: int) -> MaxCosine:
    """Largest cosines both ways; of equal ones the lowest index."""
    a, b = torch.nn.functional.normalize(a), torch.nn.functional.normalize(b)
    best_ab, best_ba = nothing(a), nothing(b)
    buffer = a.new_empty(min(block, len(a)) * min(block, len(b)))
    for i in range(0, len(a), block):
        rows = a[i : i + block]
        for j in range(0, len(b), block):
            columns = b[j : j + block]
            shape = (len(rows), len(columns))
            cosines = torch.mm(rows, columns.t(), out=buffer[: shape[0] * shape[1]].view(shape))
            improve(best_ab, cosines, i, j)
            improve(best_ba, cosines.t(), j, i)
    return MaxCosine(*best_ab, *best_ba)


def nothing(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    value = rows.new_full((len(rows),), -torch.inf)
    return value, torch.zeros(len(rows), dtype=torch.int64, device=rows.device)


def improve(
    best: tuple[torch.Tensor, torch.Tensor], cosines: torch.Tensor, row: int, column: int
) -> None:
    """Takes over the maxima of a block whose corner is (row, column) where they are larger."""
    value, index = (part[row : row + cosines.shape[0]] for part in best)
    found = cosines.amax(1)
    better = (found > value).nonzero().view(-1)
    if better.numel():
        # Finding the position is slower than finding the value: only for rows that improve.
        # While all rows do, which is so in the first block, none are gathered.
        rows = cosines if better.numel() == len(found) else cosines[better]
        first = (rows == found[better].unsqueeze(1)).to(torch.uint8).argmax(1)
        value[better] = found[better]
        index[better] = first + column
