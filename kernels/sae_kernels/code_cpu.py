"""The sparse matrix of a code on the CPU: O(m d) for m entries, nothing of size m × d is held."""

from __future__ import annotations

from typing import NamedTuple

import torch

from sae_kernels.code_sort import CodeSort
from sae_kernels.row_sums import bag_sums, row_dots, stable_order, transposed_sums


class CpuCode(NamedTuple):
    """Tokens `rows` ascending and `latents` of the entries, (m,); where each token's `starts`,
    (n,); their sort."""

    rows: torch.Tensor
    latents: torch.Tensor
    starts: torch.Tensor
    sort: CodeSort

    def times(
        self,
        values: torch.Tensor,
        table: torch.Tensor,
        bias: torch.Tensor | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """C·table + bias, (n, d)."""
        sums = bag_sums(table, self.latents, values.reshape(-1), starts=self.starts)
        return sums if bias is None else sums.add_(bias)

    def transposed_times(
        self, values: torch.Tensor, source: torch.Tensor, *, n_latents: int, dtype: torch.dtype
    ) -> torch.Tensor:
        """Cᵀ·source, (f, d)."""
        order = self.sort.of(self.latents, n_latents, lambda: stable_order(self.latents))
        weights = values.reshape(-1)
        return transposed_sums(
            source, self.rows, self.latents, weights, n_columns=n_latents, order=order
        )

    def dots(self, left: torch.Tensor, right: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """left[token] · right[latent] of every entry."""
        return row_dots(left, right, self.rows, self.latents).view(like.shape)

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
        sums = self.transposed_times(weights, source, n_latents=n_latents, dtype=dtype)
        masses = weights.new_zeros(n_latents)
        return sums, masses.index_add_(0, self.latents, weights.reshape(-1))


def even_code(indices: torch.Tensor, sort: CodeSort | None) -> CpuCode:
    """The code of k entries `indices` (n, k) on each token."""
    n, k = indices.shape
    rows = torch.arange(n).repeat_interleave(k)
    starts = torch.arange(0, n * k, k) if n * k else torch.zeros(n, dtype=torch.int64)
    return CpuCode(rows, indices.reshape(-1), starts, sort or CodeSort())


def uneven_code(
    rows: torch.Tensor, columns: torch.Tensor, n_rows: int, sort: CodeSort | None
) -> CpuCode:
    """The code of any number of entries on each token, `rows` ascending."""
    starts = torch.searchsorted(rows, torch.arange(n_rows))
    return CpuCode(rows, columns, starts, sort or CodeSort())
