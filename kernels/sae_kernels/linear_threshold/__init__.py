"""The outputs of a linear layer that lie above a threshold."""

from __future__ import annotations

import torch

from sae_kernels.dispatch import implementation
from sae_kernels.ragged import RaggedCode


def linear_threshold(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    threshold: torch.Tensor,
    *,
    capacity: int = 512,
) -> RaggedCode:
    """The entries of ReLU(z), z = x·weightᵀ + bias, with z > θ, in order of row, then column.

    What codes are after training where latents are active above a threshold: one each (JumpReLU),
    or one for all (BatchTopK). Entries that are 0 are never kept, also where θ < 0; NaN is kept, so
    that it shows. `x` (n, d), `weight` (f, d), `bias` (f,), `threshold` θ (f,) or 0-d.
    `capacity` >= 1: entries that a GPU makes room for in each row. Rows are counted exactly; those
    with more are made again in the same call with as much room as they need: the capacity decides
    time and memory, never the answer. On the CPU it has no effect.
    Differentiable in x, weight and bias through the kept entries; the threshold gets no gradient.
    Raises ValueError when shapes or capacity do not fit.
    """
    if x.ndim != 2 or weight.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"linear_threshold got x {tuple(x.shape)} and weight {tuple(weight.shape)}. "
            "Allowed: (n, d) and (f, d). Check the layer's orientation."
        )
    outputs = weight.shape[:1]
    if bias.shape != outputs or threshold.shape not in {(), outputs}:
        raise ValueError(
            f"linear_threshold got bias {tuple(bias.shape)} and threshold "
            f"{tuple(threshold.shape)} for weight {tuple(weight.shape)}. Allowed: "
            f"{tuple(outputs)}, the threshold also 0-d: one per output, or one for all."
        )
    if capacity < 1:
        raise ValueError(
            f"linear_threshold got capacity = {capacity}. Allowed: 1 or more. Take a few times the "
            "entries expected in a row."
        )
    run = implementation("linear_threshold", x)
    return run.linear_threshold(x, weight, bias, threshold.detach(), capacity=capacity)
