"""Ragged nested decoding on the GPU: the walk of nested_decode_loss over any number of latents."""

from __future__ import annotations

import torch

from sae_kernels.code_fused import behind
from sae_kernels.nested_decode_loss.fused import NestedLoss
from sae_kernels.ragged import RaggedCode


def ragged_nested_decode_loss(
    x: torch.Tensor,
    code: RaggedCode,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
    weights: torch.Tensor,
    bias_weights: torch.Tensor,
) -> torch.Tensor:
    """Σ_j w_nj · ‖e_nj‖², (n,)."""
    tokens = torch.arange(code.n_rows + 1, device=x.device)
    rows = behind(code.rows, code.values.detach(), code.n_rows)
    starts = torch.searchsorted(rows.contiguous(), tokens)
    return NestedLoss.apply(
        x, starts, code.columns, code.values, dictionary, bias, weights, bias_weights
    )
