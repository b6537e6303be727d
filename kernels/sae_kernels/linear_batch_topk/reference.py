"""Linear + batch top-k in plain differentiable torch: the judge. Sorts all n × f entries."""

from __future__ import annotations

import torch

from sae_kernels.code_sort import CodeSort
from sae_kernels.ragged import RaggedCode, padded_to


def linear_batch_topk(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    count: int,
    *,
    sort: CodeSort | None,
) -> RaggedCode:
    """The `count` largest entries > 0 of x·weightᵀ + bias over the whole batch."""
    flat = (x @ weight.T + bias).reshape(-1)
    order = flat.detach().sort(descending=True, stable=True).indices[:count]
    kept = order[~(flat.detach()[order] <= 0)].sort().values
    n_latents = weight.shape[0]
    rows = kept.div(n_latents, rounding_mode="floor")
    code = RaggedCode(rows, kept - rows * n_latents, flat[kept], x.shape[0])
    return padded_to(min(count, len(flat)), code)
