"""AuxK: dead latents learn to reconstruct what the others left over."""

from __future__ import annotations

import torch
from sae_kernels import CodeSort, linear_masked_topk, sparse_decode

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
    dead: torch.Tensor | None,
    k_aux: int,
    spread: torch.Tensor | None = None,
) -> torch.Tensor:
    """‖e − ê‖² / ‖e − ē‖² over the batch, ê the dead latents' reconstruction of the error e.

    ê = Σ over the k_aux largest pre-activations among `dead` (f,) bool, after ReLU, without a bias.
    `centred` (n, d) detached encoder inputs, `error` (n, d) = s x − s x̂, taken as a constant.
    `spread` 0-d is the denominator where it is not the batch's own.
    0 where no latent is dead or the error does not vary; `dead` is None where none can be.
    Gradient reaches encoder and decoder. On a GPU nothing waits for the device.
    Reference: Gao et al., "Scaling and evaluating sparse autoencoders" (2024), appendix A.2.
    """
    most = 0 if dead is None else _most(dead)
    if dead is None or not most:
        return error.new_zeros(())
    error, sort = error.detach(), CodeSort()
    indices, values = linear_masked_topk(
        centred, sae.W_enc, sae.training_bias(), dead, min(k_aux, most), sort=sort
    )
    nothing = error.new_zeros(error.shape[1])
    guess = sparse_decode(indices, values, sae.W_dec, nothing, sort=sort)
    left = (error - guess).square().sum()
    if spread is None:
        spread = (error - error.mean(0)).square().sum()
    counts = (spread > 0) & dead.any()
    return torch.where(counts, left / torch.where(spread > 0, spread, 1.0), 0.0)


def _most(dead: torch.Tensor) -> int:
    """How many can be dead: on the CPU counted, which saves work; other devices are not asked."""
    return int(dead.sum()) if dead.device.type == "cpu" else len(dead)
