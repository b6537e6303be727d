"""JumpReLU on the CPU: a hand-written backward, which makes the window anew and stores no gates."""

from __future__ import annotations

import torch
from torch.autograd.function import FunctionCtx, once_differentiable


def jumprelu(
    z: torch.Tensor, threshold: torch.Tensor, *, bandwidth: float, to_z: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """z · H(z − θ) (n, f) and Σ_n H(z_n − θ) (f,)."""
    return _JumpRelu.apply(z, threshold, bandwidth, to_z)


class _JumpRelu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, z: torch.Tensor, threshold: torch.Tensor, bandwidth: float, to_z: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        on = z > threshold
        ctx.save_for_backward(z, threshold, on)
        ctx.bandwidth, ctx.to_z = bandwidth, to_z
        ctx.set_materialize_grads(False)
        # Where z is NaN neither comparison holds: it stays, so that it shows.
        values = z.masked_fill(z <= threshold, 0.0)
        return values, on.sum(0).to(torch.promote_types(z.dtype, torch.float32))

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, d_values: torch.Tensor | None, d_counts: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, ...]:
        z, threshold, on = ctx.saved_tensors
        outside = (z - threshold).abs_() >= ctx.bandwidth / 2
        d_z, to_step, d_threshold = None, None, torch.zeros_like(threshold)
        if d_values is not None:
            near = d_values.masked_fill(outside, 0.0)
            d_threshold = d_threshold - near.sum(0) * (threshold / ctx.bandwidth)
            d_z = d_values.masked_fill(~on, 0.0)
            to_step = near.mul_(threshold / ctx.bandwidth) if ctx.to_z else None
        if d_counts is not None:
            slope = (d_counts / ctx.bandwidth).to(threshold.dtype)
            d_threshold = d_threshold - slope * (len(z) - outside.sum(0))
            if ctx.to_z:
                from_counts = slope.expand_as(z).masked_fill(outside, 0.0)
                to_step = from_counts if to_step is None else to_step.add_(from_counts)
        if to_step is not None:
            d_z = to_step if d_z is None else d_z.add_(to_step)
        return d_z, d_threshold, None, None
