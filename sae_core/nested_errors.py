"""How the error of a reconstruction falls as a token's latents are added one by one."""

from __future__ import annotations

import torch

_TOKENS = 512


def nested_errors(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """‖e_0‖² … ‖e_k‖² per token, (n, k + 1) in the precision of x.

    e_0 = x − bias, e_j = e_(j−1) − values_nj · dictionary[indices_nj]: latents are added in the
    order in which they stand. x (n, d), indices and values (n, k), dictionary (f, d), bias (d,).
    Works on 512 tokens at a time: 512 · d numbers beside the result.
    """
    errors = x.new_empty(len(x), indices.shape[1] + 1)
    values = values.to(x.dtype)
    for start in range(0, len(x), _TOKENS):
        part = slice(start, start + _TOKENS)
        e = x[part] - bias
        errors[part, 0] = e.square().sum(1)
        rows, weights = indices[part].T, values[part].T
        for j in range(len(rows)):
            added = dictionary[rows[j]].to(e.dtype)
            e.addcmul_(added, weights[j].unsqueeze(1), value=-1)
            errors[part, j + 1] = e.square().sum(1)
    return errors


def reordered(
    indices: torch.Tensor, values: torch.Tensor, key: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A code's indices and values (n, k) by ascending key (n, k), what is not active last.

    Of equal keys the lower latent comes first.
    """
    inactive = values <= 0
    by_index = indices.argsort(dim=1, stable=True)
    key = key.masked_fill(inactive, torch.inf).gather(1, by_index)
    order = by_index.gather(1, key.argsort(dim=1, stable=True))
    return indices.gather(1, order), values.gather(1, order)
