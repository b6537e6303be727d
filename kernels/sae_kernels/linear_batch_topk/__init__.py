"""The largest outputs of a linear layer over a whole batch."""

from __future__ import annotations

import torch

from sae_kernels.code_sort import CodeSort
from sae_kernels.dispatch import implementation
from sae_kernels.ragged import RaggedCode


def linear_batch_topk(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    count: int,
    *,
    sort: CodeSort | None = None,
) -> RaggedCode:
    """The `count` largest entries of ReLU(z), z = x·weightᵀ + bias, over all n rows together.

    Of equal entries the earlier row, then the lower index, is kept. Entries that are 0 are never
    kept: where fewer than `count` are > 0, the rest of the code is padding, so that its size,
    min(count, n f), is known without a look at the numbers. NaN counts as the largest.
    `x` (n, d), `weight` (f, d), `bias` (f,), count >= 1. Differentiable in x, weight and bias
    through the kept entries. `sort` shares the code's sort by latent with the
    operations that decode the code. Raises ValueError when shapes or count do not fit.
    """
    if x.ndim != 2 or weight.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"linear_batch_topk got x {tuple(x.shape)} and weight {tuple(weight.shape)}. "
            "Allowed: (n, d) and (f, d). Check the layer's orientation."
        )
    if bias.shape != weight.shape[:1]:
        raise ValueError(
            f"linear_batch_topk got bias {tuple(bias.shape)} for weight {tuple(weight.shape)}. "
            f"Allowed: ({weight.shape[0]},), one per output."
        )
    if count < 1:
        raise ValueError(f"linear_batch_topk got count = {count}. Allowed: 1 or more. It is n · k.")
    run = implementation("linear_batch_topk", x)
    return run.linear_batch_topk(x, weight, bias, count, sort=sort)
