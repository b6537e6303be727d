"""AuxK: dead latents learn to reconstruct what the others left over."""

from __future__ import annotations

import torch
from sae_kernels import linear_masked_topk, sparse_decode

from sae_core.sae import Sae


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

    ê = Σ over the k_aux largest pre-activations among `dead` (f,) bool, after ReLU, without a bias.
    `centred` (n, d) detached encoder inputs, `error` (n, d) = s x − s x̂, taken as a constant.
    `spread` 0-d is the denominator where it is not the batch's own.
    0 where no latent is dead or the error does not vary. Gradient reaches encoder and decoder.
    On a device nothing waits for the number of dead latents: sizes depend on k_aux alone.
    Reference: Gao et al., "Scaling and evaluating sparse autoencoders" (2024), appendix A.2.
    """
    error, k = error.detach(), min(k_aux, len(dead))
    if dead.device.type == "cpu":  # where counting them waits for nothing
        k = min(k, int(dead.sum()))
        if k == 0:
            return error.new_zeros(())
    indices, values = linear_masked_topk(centred, sae.W_enc, sae.training_bias(), dead, k)
    guess = sparse_decode(indices, values, sae.W_dec, error.new_zeros(error.shape[1]))
    left = (error - guess).square().sum()
    if spread is None:
        spread = (error - error.mean(0)).square().sum()
    varies = spread > 0
    share = left / torch.where(varies, spread, 1.0)
    return torch.where(varies & dead.any(), share, 0.0)
