"""The two dense products of a training step, in the precision that the recipe chooses.

With `compute: bfloat16` both factors are rounded to 8 significant bits, products are summed in
float32 by the hardware, and results are rounded again; biases, losses, gradients' sums over steps,
optimiser and parameters stay float32, so that no update is rounded away. Inference is float32.
Reference: Micikevicius et al., "Mixed precision training" (2018), section 3.1 (master weights).
"""

from __future__ import annotations

import torch
from torch.nn.functional import linear

from sae_core.sae import Sae


def encoded(sae: Sae, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Pre-activations (n, f) of encoder inputs (n, d): x W_encᵀ + bias (f,), float32."""
    if sae.config.compute == "float32":
        return linear(x, sae.W_enc, bias)
    return linear(x.bfloat16(), sae.W_enc.bfloat16()).to(bias.dtype) + bias


def decoded(sae: Sae, dense: torch.Tensor) -> torch.Tensor:
    """s x̂ (n, d) of dense activations (n, f): a W_dec + b_dec, float32."""
    return _decoded(dense, sae.W_dec, sae.b_dec, sae.config.compute)


def decoded_by_constants(sae: Sae, dense: torch.Tensor) -> torch.Tensor:
    """The same, whose gradient reaches the activations alone."""
    return _decoded(dense, sae.W_dec.detach(), sae.b_dec.detach(), sae.config.compute)


def _decoded(
    dense: torch.Tensor, dictionary: torch.Tensor, bias: torch.Tensor, compute: str
) -> torch.Tensor:
    if compute == "float32":
        return torch.addmm(bias, dense, dictionary)
    return (dense.bfloat16() @ dictionary.bfloat16()).to(bias.dtype) + bias
