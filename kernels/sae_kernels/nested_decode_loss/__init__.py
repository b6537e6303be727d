"""The errors of all nested reconstructions of a code, weighted and summed."""

from __future__ import annotations

import torch

from sae_kernels.dispatch import implementation


def nested_decode_loss(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """Σ_j weights_nj · ‖e_nj‖² per token, e_nj the error when only the first j latents decode.

    e_n0 = x_n − bias; e_nj = e_n,j−1 − values_nj · dictionary[indices_nj], j = 1 ... k. The order
    of a token's latents is the caller's: by index the prefixes of a dictionary are nested, by
    activation the codes with fewer latents are. A weight on the last alone is the plain loss.
    `x` (n, d), `indices` (n, k) int64 in [0, f), `values` (n, k), `dictionary` (f, d), `bias`
    (d,), `weights` (k + 1,) or (n, k + 1) >= 0, constants: no gradient; gives (n,).
    Differentiable in x, values, dictionary and bias, with S_nj = Σ_{l ≥ j} weights_nl · e_nl and
    g the gradient of the result: ∂values_nj = −2 g_n S_nj · dictionary[indices_nj], ∂dictionary_i
    = −2 Σ_{n, j: indices_nj = i} g_n values_nj S_nj, ∂x_n = 2 g_n S_n0, ∂bias = −Σ_n ∂x_n.
    Padding (index 0, value 0) changes no error: e_nj = e_n,j−1 there.
    Raises ValueError when the shapes do not fit together.
    """
    _check(x, indices, values, dictionary, bias)
    n, k = indices.shape
    if weights.shape not in {(k + 1,), (n, k + 1)}:
        raise ValueError(
            f"nested_decode_loss got weights {tuple(weights.shape)} for indices {(n, k)}. Allowed: "
            f"{(k + 1,)} or {(n, k + 1)}: the first weight is that of the bias alone."
        )
    weights = weights.detach()
    run = implementation("nested_decode_loss", values)
    return run.nested_decode_loss(x, indices, values, dictionary, bias, weights)


@torch.no_grad()
def nested_errors(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """‖e_nj‖² (n, k + 1), the squared error of token n when only its first j latents decode.

    The curve that nested_decode_loss weighs; arguments as there. Not differentiable.
    Raises ValueError when the shapes do not fit together.
    """
    _check(x, indices, values, dictionary, bias)
    run = implementation("nested_decode_loss", values)
    return run.nested_errors(x, indices, values, dictionary, bias)


def _check(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
) -> None:
    shapes_fit = (
        indices.ndim == 2
        and indices.shape == values.shape
        and dictionary.ndim == 2
        and bias.shape == dictionary.shape[1:]
        and x.shape == (len(indices), dictionary.shape[1])
    )
    if not shapes_fit:
        raise ValueError(
            f"nested decoding got x {tuple(x.shape)}, indices {tuple(indices.shape)}, values "
            f"{tuple(values.shape)}, dictionary {tuple(dictionary.shape)}, bias "
            f"{tuple(bias.shape)}. Allowed: (n, d), (n, k), (n, k), (f, d), (d,). Check which "
            "dimension is the dictionary's."
        )
