"""The product of a linear layer on the CPU, by the faster of the libraries that torch brings."""

from __future__ import annotations

import torch

# Outputs are made block by block and every block's memory is used again for the next. 24 MB:
# enough rows for a product at full speed, and below the size (32 MB) from which the C library gives
# memory back to the system each time and every page of it costs a fault.
_BLOCK_ENTRIES = 6 * 2**20
_BLOCK_ROWS = 64


def linear_product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """x·weightᵀ + bias, (n, f), from `x` (n, d), `weight` (f, d), `bias` (f,); not differentiable.

    Float32 goes to oneDNN where torch has it, all else to torch.addmm. On Zen 5 oneDNN takes half
    of MKL's time (torch 2.13, 2026-11; other processors were not measured), and the bias costs no
    sweep of its own. Both add products of float32 numbers in float32. By oneDNN a row's outputs
    have the same bits whatever rows stand beside it.
    """
    if x.dtype is torch.float32 and x.numel() and torch.backends.mkldnn.is_available():
        if len(x) == 1:
            # A single row is multiplied by another routine, which adds in another order.
            return linear_product(x.expand(2, -1), weight, bias)[:1]
        return torch.ops.mkldnn._linear_pointwise(
            x.contiguous(), weight.contiguous(), bias.contiguous(), "none", [], ""
        )
    return torch.addmm(bias, x, weight.t())


def row_blocks(n: int, f: int) -> list[slice]:
    """Blocks of the n rows whose outputs (rows, f) are made at a time.

    Let go of one block's outputs before the next is made: its memory is used again.
    """
    size = max(1, _BLOCK_ENTRIES // (f * _BLOCK_ROWS)) * _BLOCK_ROWS
    return [slice(start, start + size) for start in range(0, n, size)]
