"""The active latents of a batch when tokens may have different numbers of them.

How many a batch has depends on its numbers. A device would make the host wait for that: where the
most there can be is known, the code has that size, and what is not needed of it is padding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class RaggedCode(NamedTuple):
    """m active latents of n tokens, ordered by token and then by latent.

    `rows` (m,) int64 tokens, `columns` (m,) int64 latents, `values` (m,) > 0, `n_rows` n. Padding
    has value 0 and stands behind all others, as latent 0 of the last token;
    a gradient to it is of no account.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor
    n_rows: int


def padded_to(size: int, code: RaggedCode) -> RaggedCode:
    """The code with padding behind it up to `size` entries, at least as many as it has."""
    missing = size - len(code.values)
    if not missing:
        return code
    rows = torch.cat([code.rows, code.rows.new_full((missing,), code.n_rows - 1)])
    columns = torch.cat([code.columns, code.columns.new_zeros(missing)])
    values = torch.cat([code.values, code.values.new_zeros(missing)])
    return RaggedCode(rows, columns, values, code.n_rows)
