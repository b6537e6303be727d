"""The sparse matrix of a code on the GPU: only rows that entries name are read."""

from __future__ import annotations

from typing import NamedTuple

import torch

from sae_kernels.code_sort import CodeSort
from sae_kernels.gathers_fused import entry_dots, row_dots, weighted_rows
from sae_kernels.latent_order import latent_order
from sae_kernels.segment_sums_fused import segment_sums


class FusedCode(NamedTuple):
    """`latents` (n, k), or (m,) with the tokens `rows` (m,), ascending, and where each token's
    begin and end, `starts` (n + 1,); their sort."""

    latents: torch.Tensor
    rows: torch.Tensor | None
    starts: torch.Tensor | None
    sort: CodeSort

    def times(
        self,
        values: torch.Tensor,
        table: torch.Tensor,
        bias: torch.Tensor | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """C·table + bias, (n, d)."""
        return weighted_rows(self.latents, values, table, bias, dtype=dtype, starts=self.starts)

    def transposed_times(
        self, values: torch.Tensor, source: torch.Tensor, *, n_latents: int, dtype: torch.dtype
    ) -> torch.Tensor:
        """Cᵀ·source, (f, d)."""
        return self.latent_sums(values, source, values=values, n_latents=n_latents, dtype=dtype)[0]

    def dots(self, left: torch.Tensor, right: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """left[token] · right[latent] of every entry."""
        if self.rows is None:
            return row_dots(left, right, self.latents, dtype=like.dtype)
        return entry_dots(left, self.rows, right, self.latents, dtype=like.dtype)

    def latent_sums(
        self,
        weights: torch.Tensor,
        source: torch.Tensor,
        *,
        values: torch.Tensor,
        n_latents: int,
        dtype: torch.dtype,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums by latent of weights · source[token], (f, d), and of the weights alone, (f,)."""
        order = self.sort.of(
            self.latents,
            n_latents,
            lambda: latent_order(self.latents, values, n_latents=n_latents),
        )
        return segment_sums(order, weights, source, dtype=dtype, tokens=self.rows)


def even_code(indices: torch.Tensor, sort: CodeSort | None) -> FusedCode:
    """The code of k entries `indices` (n, k) on each token."""
    return FusedCode(indices, None, None, sort or CodeSort())


def uneven_code(
    rows: torch.Tensor, columns: torch.Tensor, n_rows: int, sort: CodeSort | None
) -> FusedCode:
    """The code of any number of entries on each token, `rows` ascending, padding `behind` them."""
    starts = torch.searchsorted(rows, torch.arange(n_rows + 1, device=rows.device))
    return FusedCode(columns, rows.clamp(max=n_rows - 1), starts, sort or CodeSort())


def behind(rows: torch.Tensor, values: torch.Tensor, n_rows: int) -> torch.Tensor:
    """The tokens (m,) with padding's behind all tokens, so that no token has to walk along it.

    Padding has nothing but zeros behind it; a value that rounded to 0 may stand before others.
    """
    from_here_on = (values != 0).flip(0).cumsum(0).flip(0)
    return rows.masked_fill(from_here_on == 0, n_rows)
