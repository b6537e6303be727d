"""Values above a threshold, and the gradients of the threshold that the step function hides."""

from __future__ import annotations

from typing import NamedTuple

import torch

from sae_kernels.dispatch import implementation


class JumpRelu(NamedTuple):
    """`values` z · H(z − θ) (n, f), and `counts` Σ_n H(z_n − θ) (f,) in at least float32."""

    values: torch.Tensor
    counts: torch.Tensor


def jumprelu(z: torch.Tensor, threshold: torch.Tensor, *, bandwidth: float, to_z: bool) -> JumpRelu:
    """JumpReLU and how often its gate H(z − θ), 1 where z > θ, is open, with gradients for θ.

    Raising θ by dθ takes θ away from the values, and 1 from the counts, of those tokens whose z
    lies in between; their density is estimated from all tokens in a window around θ, both sides of
    it. With K = 1 on (−1/2, 1/2), ε = `bandwidth`: ∂values/∂θ = −(θ / ε) K((z − θ) / ε),
    ∂counts/∂θ = −(1 / ε) Σ_n K((z_n − θ) / ε), on z and not on the values;
    ∂values/∂z = H(z − θ), ∂counts/∂z = 0; `to_z` adds the two estimates with the other sign to z.
    A loss that is quadratic in the values changes at the jump by θ times the mean of its
    derivatives on both sides, which is why both sides have to be in the window: with the upper
    alone the estimate is wrong even for ε → 0. With both its error is of order ε.
    `z` (n, f), `threshold` θ (f,). Differentiable in both; the sum over tokens is deterministic.
    Raises ValueError when the shapes do not fit or the bandwidth is not above 0.
    Reference: Rajamanoharan et al., "Jumping ahead: improving reconstruction fidelity with
    JumpReLU sparse autoencoders" (2024), section 3 and appendix B; to_z: Conerly et al., "Circuits
    updates: January 2025".
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
