"""The k largest outputs of a linear layer, per row."""

from __future__ import annotations

import torch

from sae_kernels.code_sort import CodeSort
from sae_kernels.dispatch import implementation


def linear_topk(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: int,
    *,
    sort: CodeSort | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices (n, k) and values (n, k) of the k largest of z = x·weightᵀ + bias, after ReLU.

    values = ReLU(z[indices]), largest first; of equal ones the lower index first; entries whose
    value is 0 are padding: index 0, value 0. NaN counts as the largest and stays NaN.
    `x` (n, d), `weight` (f, d), `bias` (f,), 1 <= k <= f. Differentiable in x, weight and bias;
    gradient reaches only entries that were selected and are > 0.
    `sort` shares the code's sort by latent with the operations that decode the code.
    Raises ValueError when shapes or k do not fit.
    """
    if x.ndim != 2 or weight.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"linear_topk got x {tuple(x.shape)} and weight {tuple(weight.shape)}. Allowed: "
            "(n, d) and (f, d). Check the layer's orientation."
        )
    if bias.shape != weight.shape[:1]:
        raise ValueError(
            f"linear_topk got bias {tuple(bias.shape)} for weight {tuple(weight.shape)}. "
            f"Allowed: ({weight.shape[0]},), one per output."
        )
    if not 1 <= k <= weight.shape[0]:
        raise ValueError(
            f"linear_topk got k = {k} for {weight.shape[0]} outputs. Allowed: 1 to "
            f"{weight.shape[0]}. Lower k or add outputs."
        )
    run = implementation("linear_topk", x)
    return run.linear_topk(x, weight, bias, k, sort=sort)
