"""The gradient of a jump, from the pre-activations that lie near it."""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable


def jump(
    value: torch.Tensor,
    z: torch.Tensor,
    threshold: torch.Tensor,
    *,
    height: torch.Tensor,
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
    return _Jump.apply(value, z, threshold, height, bandwidth, to_z)


def jumps(
    z: torch.Tensor, threshold: torch.Tensor, *, bandwidth: float, to_z: bool
) -> torch.Tensor:
    """Σ_ni H(z_ni − θ_i), 0-d: the sum of `jump` for value and height 1, without its (n, f)."""
    return _Jumps.apply(z, threshold, bandwidth, to_z)


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
        off = z <= threshold
        ctx.save_for_backward(z, threshold, height, off)
        ctx.bandwidth, ctx.to_z = bandwidth, to_z
        return value.masked_fill(off, 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        z, threshold, height, off = ctx.saved_tensors
        near = grad.masked_fill(_outside(z, threshold, ctx.bandwidth), 0.0)
        slope = height / ctx.bandwidth
        to_z = near * slope if ctx.to_z else None
        return grad.masked_fill(off, 0.0), to_z, -slope * near.sum(0), None, None, None


class _Jumps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        z: torch.Tensor,
        threshold: torch.Tensor,
        bandwidth: float,
        to_z: bool,
    ) -> torch.Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth, ctx.to_z = bandwidth, to_z
        return (z > threshold).sum().to(z.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        z, threshold = ctx.saved_tensors
        outside = _outside(z, threshold, ctx.bandwidth)
        slope = grad / ctx.bandwidth
        to_z = torch.where(outside, 0.0, slope) if ctx.to_z else None
        return to_z, -slope * (len(z) - outside.sum(0)), None, None


def _outside(z: torch.Tensor, threshold: torch.Tensor, bandwidth: float) -> torch.Tensor:
    return (z - threshold).abs_() >= bandwidth / 2
