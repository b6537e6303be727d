"""Ragged nested decoding in plain differentiable torch: the judge. Pads, and holds n × k × d."""

from __future__ import annotations

import torch

from sae_kernels.nested_decode_loss.reference import nested_decode_loss
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
    counts = torch.bincount(code.rows, minlength=code.n_rows)
    starts = counts.cumsum(0) - counts
    places = (code.rows, torch.arange(len(code.rows), device=x.device) - starts[code.rows])
    shape = (code.n_rows, int(counts.max()) if code.n_rows else 0)
    indices = code.columns.new_zeros(shape).index_put(places, code.columns)
    values = code.values.new_zeros(shape).index_put(places, code.values)
    padded = weights.new_zeros(shape).index_put(places, weights)
    padded = torch.cat([bias_weights.unsqueeze(1), padded], dim=1)
    return nested_decode_loss(x, indices, values, dictionary, bias, padded)
