"""Values above a threshold, and the gradients of the threshold that the step function hides."""

from __future__ import annotations

from typing import NamedTuple

import torch

from sae_kernels.dispatch import implementation


class JumpRelu(NamedTuple):
    """`values` z · H(z − θ) and `gates` H(z − θ), both (n, f)."""

    values: torch.Tensor
    gates: torch.Tensor


def jumprelu(z: torch.Tensor, threshold: torch.Tensor, *, bandwidth: float, to_z: bool) -> JumpRelu:
    """JumpReLU and its gate, H(z − θ) = 1 where z > θ, with estimated gradients for θ.

    With K = 1 on (−1/2, 1/2), ε = `bandwidth`: ∂values/∂θ = −(θ / ε) K((z − θ) / ε),
    ∂gates/∂θ = −(1 / ε) K((z − θ) / ε), from both sides of the window, on z and not on the values;
    ∂values/∂z = H(z − θ), ∂gates/∂z = 0; `to_z` adds the two estimates with the other sign to z.
    `z` (n, f), `threshold` θ (f,). Differentiable in both; the sum over tokens is deterministic.
    Raises ValueError when the shapes do not fit or the bandwidth is not above 0.
    Reference: Rajamanoharan et al., "Jumping ahead: improving reconstruction fidelity with
    JumpReLU sparse autoencoders" (2024), section 3; to_z: Conerly et al., "Circuits updates:
    January 2025".
    """
    if z.ndim != 2 or threshold.shape != z.shape[1:]:
        raise ValueError(
            f"jumprelu got z {tuple(z.shape)} and threshold {tuple(threshold.shape)}. Allowed: "
            "(n, f) and (f,), one threshold per latent."
        )
    if not bandwidth > 0:
        raise ValueError(
            f"jumprelu got bandwidth = {bandwidth}. Allowed: above 0. It is the width of the "
            "window around the threshold, in units of z."
        )
    run = implementation("jumprelu", z)
    return JumpRelu(*run.jumprelu(z, threshold, bandwidth=bandwidth, to_z=to_z))
