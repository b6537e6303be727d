"""Linear + threshold on the CPU: outputs block by block, of which only those above are kept."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from sae_kernels.kept_outputs import Entries, KeptOutputs
from sae_kernels.linear_batch_topk.cpu import gradients
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
    return RaggedCode(*KeptOutputs.apply(x, weight, bias, choose, gradients), len(x))


def _above(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, threshold: torch.Tensor
) -> Entries:
    f = len(weight)
    nothing = x.new_empty(0, dtype=torch.int64)
    found = [Entries(nothing, nothing, x.new_empty(0))]
    for block, z in product_blocks(x, weight, bias):
        # NumPy finds the few entries of a mask several times faster than torch.
        kept = torch.from_numpy(np.flatnonzero(np.asarray(~(z <= threshold))))
        rows = kept.div(f, rounding_mode="floor")
        found.append(Entries(rows + block.start, kept - rows * f, z.view(-1)[kept]))
    return Entries(*(torch.cat(parts) for parts in zip(*found, strict=True)))
