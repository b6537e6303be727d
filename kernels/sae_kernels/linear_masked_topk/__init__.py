"""The k largest outputs of a linear layer, per row, among those that a mask allows."""

from __future__ import annotations

import torch

from sae_kernels.code_sort import CodeSort
from sae_kernels.dispatch import implementation


def linear_masked_topk(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    mask: torch.Tensor,
    k: int,
    *,
    sort: CodeSort | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """linear_topk over the outputs where `mask` is true: what AuxK selects among dead latents.

    Indices (n, k) count all f outputs; where fewer than k are allowed and > 0 the rest is padding:
    index 0, value 0. `x` (n, d), `weight` (f, d), `bias` (f,), `mask` (f,) bool, 1 <= k <= f.
    The sizes of everything depend on k alone, never on how many the mask allows, so that on a GPU
    nothing waits for the device. Differentiable in x, weight and bias.
    `sort` shares the code's sort by latent with the operations that decode the code.
    Raises ValueError when shapes, mask or k do not fit.
    """
    if x.ndim != 2 or weight.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"linear_masked_topk got x {tuple(x.shape)} and weight {tuple(weight.shape)}. Allowed: "
            "(n, d) and (f, d). Check the layer's orientation."
        )
    outputs = weight.shape[:1]
    if bias.shape != outputs or mask.shape != outputs or mask.dtype != torch.bool:
        raise ValueError(
            f"linear_masked_topk got bias {tuple(bias.shape)} and mask {tuple(mask.shape)} of "
            f"{mask.dtype}. Allowed: {tuple(outputs)}, the mask of torch.bool: one per output."
        )
    if not 1 <= k <= outputs[0]:
        raise ValueError(
            f"linear_masked_topk got k = {k} for {outputs[0]} outputs. Allowed: 1 to "
            f"{outputs[0]}. Lower k or add outputs."
        )
    run = implementation("linear_masked_topk", x)
    return run.linear_masked_topk(x, weight, bias, mask, k, sort=sort)
