"""Masked linear + top-k on the GPU: tiles are made of allowed outputs only, without a sync.

The outputs are listed with the allowed ones first, in order; how many they are stays on the
device, and programs whose tile begins beyond them end at once.
"""

from __future__ import annotations

from functools import partial

import torch

from sae_kernels.code_product import KeptOutputs
from sae_kernels.code_sort import CodeSort
from sae_kernels.linear_topk.fused import largest


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
    latents = (~mask).to(torch.uint8).sort(stable=True).indices
    choose = partial(largest, k=k, sort=sort, latents=latents, n_live=mask.sum())
    code, values = KeptOutputs.apply(x, weight, bias, choose)
    return code.latents, values
