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
    if sae.config.compute == "float32":
        return torch.addmm(sae.b_dec, dense, sae.W_dec)
    return (dense.bfloat16() @ sae.W_dec.bfloat16()).to(sae.b_dec.dtype) + sae.b_dec
