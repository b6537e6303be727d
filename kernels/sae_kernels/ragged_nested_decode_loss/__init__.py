"""The errors of all nested reconstructions of a ragged code, weighted and summed."""

from __future__ import annotations

import torch

from sae_kernels.dispatch import implementation
from sae_kernels.ragged import RaggedCode


def ragged_nested_decode_loss(
    x: torch.Tensor,
    code: RaggedCode,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
    weights: torch.Tensor,
    bias_weights: torch.Tensor,
) -> torch.Tensor:
    """nested_decode_loss over as many latents as each token has, in the code's order.

    `weights` (m,) of the error after each of the code's latents and `bias_weights` (n,) of the
    error of the bias alone, both >= 0 and constants; `x` (n, d), `dictionary` (f, d), `bias` (d,);
    gives (n,). O(m d); a padded code would hold n times the latents of the token with most.
    Differentiable in x, the code's values, dictionary and bias.
    Raises ValueError when the shapes do not fit together.
    """
    shapes_fit = (
        dictionary.ndim == 2
        and bias.shape == dictionary.shape[1:]
        and x.shape == (code.n_rows, dictionary.shape[1])
    )
    if not shapes_fit:
        raise ValueError(
            f"ragged_nested_decode_loss got x {tuple(x.shape)} for {code.n_rows} tokens, "
            f"dictionary {tuple(dictionary.shape)}, bias {tuple(bias.shape)}. Allowed: (n, d), "
            "(f, d), (d,). Check which dimension is the dictionary's."
        )
    if weights.shape != code.values.shape or bias_weights.shape != x.shape[:1]:
        raise ValueError(
            f"ragged_nested_decode_loss got weights {tuple(weights.shape)} and bias_weights "
            f"{tuple(bias_weights.shape)} for {len(code.values)} latents of {code.n_rows} tokens. "
            "Allowed: one weight a latent, one bias weight a token. Pass (m,) and (n,)."
        )
    weights, bias_weights = weights.detach(), bias_weights.detach()
    run = implementation("ragged_nested_decode_loss", code.values)
    return run.ragged_nested_decode_loss(x, code, dictionary, bias, weights, bias_weights)
