"""Sums of weighted rows by index on the CPU: deterministic, whatever the number of threads."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import embedding_bag


def bag_sums(
    table: torch.Tensor, columns: torch.Tensor, weights: torch.Tensor, *, starts: torch.Tensor
) -> torch.Tensor:
    """Row b is Σ_j weights[j] · table[columns[j]] over j in [starts[b], starts[b + 1]).

    `table` (f, d), `columns` and `weights` (m,), `starts` (n,) ascending; gives (n, d).
    """
    return embedding_bag(columns, table, starts, per_sample_weights=weights, mode="sum")


def transposed_sums(
    source: torch.Tensor,
    rows: torch.Tensor,
    columns: torch.Tensor,
    weights: torch.Tensor,
    *,
    n_columns: int,
    order: torch.Tensor | None = None,
) -> torch.Tensor:
    """Row c is Σ_j weights[j] · source[rows[j]] over the j with columns[j] = c, in order of j.

    `source` (n, d), the others (m,); gives (n_columns, d). `order` is stable_order(columns).
    """
    order = stable_order(columns) if order is None else order
    counts = torch.bincount(columns, minlength=n_columns)
    starts = counts.cumsum(0).sub_(counts)
    return bag_sums(source, rows[order], weights[order], starts=starts)


def stable_order(columns: torch.Tensor) -> torch.Tensor:
    """The permutation (m,) that sorts `columns` (m,) int64 >= 0, equal ones in their order.

    A radix sort of 16 bits at a time: several times faster than a comparison sort here, and
    without the barriers between threads that a parallel sort of so few entries waits at.
    """
    keys = np.asarray(columns)
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    shift, top = 16, int(keys.max(initial=0))
    while top >> shift:
        digits = (keys[order] >> shift).astype(np.uint16)
        order = order[np.argsort(digits, kind="stable")]
        shift += 16
    return torch.from_numpy(order)


def row_dots(
    grad: torch.Tensor, table: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """Entry j is grad[rows[j]] · table[columns[j]]; `rows` ascending; gives (m,)."""
    starts = torch.searchsorted(rows, torch.arange(grad.shape[0], dtype=rows.dtype))
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        grad.contiguous(), table.contiguous(), columns, starts, rows, 0, -1
    )
