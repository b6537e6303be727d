"""Masked linear + top-k on the CPU: the plain one over the allowed outputs alone."""

from __future__ import annotations

import torch

from sae_kernels.linear_topk.cpu import linear_topk


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
    indices, values = linear_topk(x, weight[allowed], bias[allowed], k - n_missing)
    indices = allowed[indices].masked_fill(values.detach() == 0, 0)
    pad = torch.nn.functional.pad
    return pad(indices, (0, n_missing)), pad(values, (0, n_missing))
