"""Masked linear + top-k in plain differentiable torch: the judge. Sorts every row."""

from __future__ import annotations

import torch

from sae_kernels.code_sort import CodeSort


def linear_masked_topk(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    mask: torch.Tensor,
    k: int,
    *,
    sort: CodeSort | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and values (n, k) of the k largest allowed outputs, after ReLU."""
    z = (x @ weight.T + bias).masked_fill(~mask, 0.0)
    indices = z.detach().sort(dim=1, descending=True, stable=True).indices[:, :k]
    values = z.gather(1, indices).relu()
    return indices.masked_fill(values.detach() == 0, 0), values
