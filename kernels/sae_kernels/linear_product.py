"""The product of a linear layer on the CPU, by the faster of the libraries that torch brings."""

from __future__ import annotations

import torch


def linear_product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """x·weightᵀ + bias, (n, f), from `x` (n, d), `weight` (f, d), `bias` (f,); not differentiable.

    Float32 goes to oneDNN where torch has it, all else to torch.addmm. On Zen 5 oneDNN takes half
    of MKL's time (torch 2.13, 2026-11; other processors were not measured), and the bias costs no
    sweep of its own. Both add products of float32 numbers in float32.
    """
    if x.dtype is torch.float32 and x.numel() and torch.backends.mkldnn.is_available():
        return torch.ops.mkldnn._linear_pointwise(
            x.contiguous(), weight.contiguous(), bias.contiguous(), "none", [], ""
        )
    return torch.addmm(bias, x, weight.t())
