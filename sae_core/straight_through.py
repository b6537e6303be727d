"""The gradient of a jump, from the pre-activations that lie near it."""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable


def jump(
    value: torch.Tensor,
    z: torch.Tensor,
    threshold: torch.Tensor,
    *,
    height: torch.Tensor | float,
    bandwidth: float,
    to_z: bool,
) -> torch.Tensor:
    """value · H(z − θ) (n, f), H the step from 0 to 1, with an estimated gradient for θ.

    `value` (n, f) is a function of z that a latent takes on above θ (f,), `height` (f,) its value
    at θ. Gradient to `value` is exact. Raising θ by dθ takes `height` away from those tokens whose
    z lies in between; their density is estimated from all tokens in a window around θ, both sides
    of it: ∂/∂θ_i = −(height_i / ε) Σ_n K((z_ni − θ_i) / ε) g_ni, with g the gradient of what comes
    out, K = 1 on (−1/2, 1/2), ε = `bandwidth`. `to_z`: the same estimate also moves z, with the
    other sign.
    A loss that is quadratic in what comes out changes at the jump by height times the mean of its
    derivatives on both sides, which is why both sides have to be in the window: with the upper
    alone the estimate is wrong even for ε → 0. With both its error is of order ε.
    Reference: Rajamanoharan et al., "Jumping ahead: improving reconstruction fidelity with
    JumpReLU sparse autoencoders" (2024), section 3 and appendix B.
    """
    height = torch.as_tensor(height, dtype=z.dtype, device=z.device)
    return _Jump.apply(value, z, threshold, height, bandwidth, to_z)


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        value: torch.Tensor,
        z: torch.Tensor,
        threshold: torch.Tensor,
        height: torch.Tensor,
        bandwidth: float,
        to_z: bool,
    ) -> torch.Tensor:
        ctx.save_for_backward(z, threshold, height)
        ctx.bandwidth, ctx.to_z = bandwidth, to_z
        return value.masked_fill(z <= threshold, 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        z, threshold, height = ctx.saved_tensors
        outside = (z - threshold).abs_() >= ctx.bandwidth / 2
        near = grad.masked_fill(outside, 0.0)
        slope = height / ctx.bandwidth
        to_value = grad.masked_fill(z <= threshold, 0.0)
        to_z = near * slope if ctx.to_z else None
        return to_value, to_z, -slope * near.sum(0), None, None, None
