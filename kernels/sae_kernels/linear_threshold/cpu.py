"""Linear + threshold on the CPU: outputs block by block, of which only those above are kept."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from sae_kernels.code_cpu import CpuCode, uneven_code
from sae_kernels.code_product import ragged_outputs
from sae_kernels.linear_product import linear_product, row_blocks
from sae_kernels.ragged import RaggedCode


def linear_threshold(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    threshold: torch.Tensor,
    *,
    capacity: int,
) -> RaggedCode:
    """The entries of x·weightᵀ + bias that are > 0 and > the threshold."""
    return ragged_outputs(x, weight, bias, partial(_above, threshold=threshold.clamp(min=0)))


def _above(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, threshold: torch.Tensor
) -> tuple[CpuCode, torch.Tensor]:
    nothing = x.new_empty(0, dtype=torch.int64)
    found = [(nothing, nothing, x.new_empty(0))]
    weight, bias = weight.contiguous(), bias.contiguous()
    for block in row_blocks(len(x), len(weight)):
        rows, columns, values = _entries(linear_product(x[block], weight, bias), threshold)
        found.append((rows + block.start, columns, values))
    rows, columns, values = (torch.cat(parts) for parts in zip(*found, strict=True))
    return uneven_code(rows, columns, len(x), None), values


def _entries(z: torch.Tensor, threshold: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Rows, columns and values of the entries of z that are not <= the threshold."""
    # NumPy finds the few entries of a mask several times faster than torch.
    kept = torch.from_numpy(np.flatnonzero(np.asarray(~(z <= threshold))))
    rows = kept.div(z.shape[1], rounding_mode="floor")
    return rows, kept - rows * z.shape[1], z.view(-1)[kept]
