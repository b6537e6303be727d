"""JumpReLU in plain differentiable torch: the judge, and the CPU path."""

from __future__ import annotations

import torch


def jumprelu(
    z: torch.Tensor, threshold: torch.Tensor, *, bandwidth: float, to_z: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """z · H(z − θ) and H(z − θ), (n, f).

    In the window a straight line of slope 1 / ε in −θ stands for the step: its value is taken
    back, its gradient stays.
    """
    gates = (z > threshold).to(z.dtype).detach()
    near = ((z - threshold).abs() < bandwidth / 2).to(z.dtype).detach()
    line = ((z if to_z else z.detach()) - threshold) * near / bandwidth
    step = line - line.detach()
    return z * gates + threshold.detach() * step, gates + step
