"""A token's latents one after the other, and how the error falls as they are added."""

from __future__ import annotations

import torch
from sae_kernels.nested_decode_loss import nested_errors

_TOKENS = 512


def errors_along(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """‖e_0‖² … ‖e_k‖² per token, (n, k + 1), in the precision of the dictionary.

    e_0 = x − bias, e_j = e_(j−1) − values_nj · dictionary[indices_nj]: latents are added in the
    order in which they stand. x (n, d), indices and values (n, k), dictionary (f, d), bias (d,).
    512 tokens at a time: where there is no faster way, 512 · k · d numbers are held.
    """
    x, values, bias = (part.to(dictionary.dtype) for part in (x, values, bias))
    parts = zip(x.split(_TOKENS), indices.split(_TOKENS), values.split(_TOKENS), strict=True)
    return torch.cat([nested_errors(*part, dictionary, bias) for part in parts])


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
