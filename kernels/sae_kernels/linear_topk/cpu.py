"""Linear + top-k on the CPU: one product, blockwise selection, a backward over k latents only."""

from __future__ import annotations

from functools import partial

import torch

from sae_kernels.code_cpu import CpuCode, even_code
from sae_kernels.code_product import KeptOutputs
from sae_kernels.code_sort import CodeSort
from sae_kernels.largest import largest
from sae_kernels.linear_product import linear_product, row_blocks


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
    weight, bias = weight.contiguous(), bias.contiguous()
    for block in row_blocks(len(x), len(weight)):
        indices[block], values[block] = largest(linear_product(x[block], weight, bias), k)
    return even_code(indices, sort), values
