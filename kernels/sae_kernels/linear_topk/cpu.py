"""Linear + top-k on the CPU: one product, blockwise selection, a backward over k latents only."""

from __future__ import annotations

from functools import partial

import torch

from sae_kernels.code_cpu import CpuCode, even_code
from sae_kernels.code_product import KeptOutputs
from sae_kernels.code_sort import CodeSort
from sae_kernels.largest import largest
from sae_kernels.linear_product import product_blocks


def linear_topk(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: int,
    *,
    sort: CodeSort | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and values (n, k) of the k largest of x·weightᵀ + bias, after ReLU."""
    code, values = KeptOutputs.apply(x, weight, bias, partial(_largest, k=k, sort=sort))
    return code.latents.view(values.shape), values


def _largest(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, k: int, sort: CodeSort | None
) -> tuple[CpuCode, torch.Tensor]:
    indices = torch.empty(len(x), k, dtype=torch.int64)
    values = x.new_empty(len(x), k)
    for block, z in product_blocks(x, weight, bias):
        indices[block], values[block] = largest(z, k)
    return even_code(indices, sort), values
