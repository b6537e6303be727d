"""AuxK: dead latents learn to reconstruct what the others left over."""

from __future__ import annotations

import torch
from sae_kernels import linear_topk, sparse_decode

from sae_core.sae import Sae

_SHAPE_STEP = 256


def auxk_width(width: int) -> int:
    """Dead latents used per token by default: the power of two nearest d / 2, the upper of two."""
    exponent = max(0, (width // 2).bit_length() - 1)
    low, high = 2**exponent, 2 ** (exponent + 1)
    return low if width / 2 - low < high - width / 2 else high


def auxk_loss(
    sae: Sae,
    centred: torch.Tensor,
    error: torch.Tensor,
    *,
    dead: torch.Tensor,
    k_aux: int,
    spread: torch.Tensor | None = None,
) -> torch.Tensor:
    """‖e − ê‖² / ‖e − ē‖² over the batch, ê the dead latents' reconstruction of the error e.

    ê = Σ over the k_aux largest pre-activations among `dead` (m,), after ReLU, without a bias.
    `centred` (n, d) detached encoder inputs, `error` (n, d) = s x − s x̂, taken as a constant.
    `spread` 0-d is the denominator where it is not the batch's own.
    0 where no latent is dead or the error does not vary. Gradient reaches encoder and decoder.
    Reference: Gao et al., "Scaling and evaluating sparse autoencoders" (2024), appendix A.2.
    """
    if dead.numel() == 0:
        return error.new_zeros(())
    error, k = error.detach(), min(k_aux, dead.numel())
    dead, unused = _filled_up(dead)
    bias = sae.training_bias()[dead].masked_fill(unused, -torch.inf)
    indices, values = linear_topk(centred, sae.W_enc[dead], bias, k)
    guess = sparse_decode(indices, values, sae.W_dec[dead], error.new_zeros(error.shape[1]))
    left = (error - guess).square().sum()
    if spread is None:
        spread = (error - error.mean(0)).square().sum()
    varies = spread > 0
    return torch.where(varies, left / torch.where(varies, spread, 1.0), 0.0)


def _filled_up(dead: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The latents, the last one repeated up to a multiple of 256, and which are repeats.

    The number of dead latents changes from step to step, and product libraries keep code for
    every shape that they meet: 600 MB after 1,500 of them (oneDNN 3.12).
    """
    number = dead.numel()
    full = -(-number // _SHAPE_STEP) * _SHAPE_STEP
    filled = torch.cat([dead, dead[-1:].expand(full - number)])
    return filled, torch.arange(full, device=dead.device) >= number
