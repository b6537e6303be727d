"""Masked linear + top-k on the CPU: the product of the allowed outputs alone."""

from __future__ import annotations

from functools import partial

import torch

from sae_kernels.code_cpu import CpuCode, even_code
from sae_kernels.code_product import KeptOutputs
from sae_kernels.code_sort import CodeSort
from sae_kernels.largest import largest
from sae_kernels.linear_product import linear_product, row_blocks

_SHAPE_STEP = 256


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
    choose = partial(_largest, mask=mask, k=k, sort=sort)
    code, values = KeptOutputs.apply(x, weight, bias, choose)
    return code.latents.view(values.shape), values


def _largest(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    mask: torch.Tensor,
    k: int,
    sort: CodeSort | None,
) -> tuple[CpuCode, torch.Tensor]:
    allowed = mask.nonzero().view(-1)
    number = len(allowed)
    found = min(k, number)
    indices = torch.zeros(len(x), k, dtype=torch.int64)
    values = x.new_zeros(len(x), k)
    if found:
        filled = _filled_up(allowed)
        weight, bias = weight[filled], bias[filled]
        for block in row_blocks(len(x), len(filled)):
            z = linear_product(x[block], weight, bias)
            z[:, number:] = -torch.inf
            at, values[block, :found] = largest(z, found)
            indices[block, :found] = allowed[at]
            del z
    return even_code(indices.masked_fill_(values == 0, 0), sort), values


def _filled_up(allowed: torch.Tensor) -> torch.Tensor:
    """The outputs, the last one repeated up to a multiple of 256.

    How many are allowed may change from step to step, and product libraries keep code for every
    shape that they meet: 600 MB after 1,500 of them (oneDNN 3.12).
    """
    missing = -len(allowed) % _SHAPE_STEP
    return torch.cat([allowed, allowed[-1:].expand(missing)])
