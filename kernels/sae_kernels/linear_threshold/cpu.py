"""Linear + threshold on the CPU: outputs block by block, of which only those above are kept."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from sae_kernels.code_cpu import CpuCode, uneven_code
from sae_kernels.code_product import KeptOutputs
from sae_kernels.linear_product import product_blocks
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
    choose = partial(_above, threshold=threshold.clamp(min=0))
    code, values = KeptOutputs.apply(x, weight, bias, choose)
    return RaggedCode(code.rows, code.latents, values, len(x))


def _above(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, threshold: torch.Tensor
) -> tuple[CpuCode, torch.Tensor]:
    f = len(weight)
    nothing = x.new_empty(0, dtype=torch.int64)
    found = [(nothing, nothing, x.new_empty(0))]
    for block, z in product_blocks(x, weight, bias):
        # NumPy finds the few entries of a mask several times faster than torch.
        kept = torch.from_numpy(np.flatnonzero(np.asarray(~(z <= threshold))))
        rows = kept.div(f, rounding_mode="floor")
        found.append((rows + block.start, kept - rows * f, z.view(-1)[kept]))
    rows, columns, values = (torch.cat(parts) for parts in zip(*found, strict=True))
    return uneven_code(rows, columns, len(x), None), values
