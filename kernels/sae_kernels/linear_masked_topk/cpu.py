"""Masked linear + top-k on the CPU: the plain one over the allowed outputs alone."""

from __future__ import annotations

import torch

from sae_kernels.linear_topk.cpu import linear_topk

_SHAPE_STEP = 256


def linear_masked_topk(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and values (n, k) of the k largest allowed outputs, after ReLU."""
    allowed = mask.nonzero().view(-1)
    n_missing = max(0, k - len(allowed))
    if len(allowed) == 0:
        # A sum over nothing: the gradients exist and are 0.
        values = (x.sum(1, keepdim=True) * 0 + (weight.sum() + bias.sum()) * 0).expand(-1, k)
        return torch.zeros(len(x), k, dtype=torch.int64), values
    filled, unused = _filled_up(allowed)
    some = bias[filled].masked_fill(unused, -torch.inf)
    indices, values = linear_topk(x, weight[filled], some, k - n_missing)
    indices = filled[indices].masked_fill(values.detach() == 0, 0)
    pad = torch.nn.functional.pad
    return pad(indices, (0, n_missing)), pad(values, (0, n_missing))


def _filled_up(outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The outputs, the last one repeated up to a multiple of 256, and which are repeats.

    The number of allowed outputs changes from step to step, and product libraries keep code for
    every shape that they meet: 600 MB after 1,500 of them (oneDNN 3.12).
    """
    number = len(outputs)
    full = -(-number // _SHAPE_STEP) * _SHAPE_STEP
    filled = torch.cat([outputs, outputs[-1:].expand(full - number)])
    return filled, torch.arange(full) >= number
