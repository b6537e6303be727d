"""Inputs of linear_batch_topk."""

from __future__ import annotations

import torch

from tests.kernels.layers import GRADIENTS, quarters

SIZES = {"n": (1, 3, 9), "d": (1, 3, 33), "f": (1, 33, 200), "count": (1, 7, 99, 10_000)}
EXAMPLES = (
    {"n": 5, "d": 33, "f": 33, "count": 165},
    {"n": 2, "d": 4096, "f": 33, "count": 9},
    {"n": 9, "d": 16, "f": 300, "count": 60},
)
COMPILED = (
    {"n": 8192, "d": 768, "f": 24576, "count": 8192 * 32},
    {"n": 8192, "d": 2304, "f": 65536, "count": 8192 * 64},
    {"n": 8192, "d": 4096, "f": 131072, "count": 8192 * 64},
)


def walk(arguments: dict) -> None:
    """What the operation launches, without the sizes that it reads from the device."""
    from sae_kernels.code_fused import uneven_code
    from sae_kernels.linear_batch_topk import fused
    from sae_kernels.linear_topk.candidates_fused import Layer, candidate_keys

    x, weight, bias = (arguments[name] for name in GRADIENTS)
    layer = Layer(x, weight, bias, None, None)
    made = fused.batch_plan(layer, arguments["count"])
    pairs = torch.empty(1000, 2, dtype=torch.int64, device=x.device)
    fused.tile_bits(layer, made, candidate_keys(layer, made), pairs)
    entries = torch.empty(len(x) * 32, dtype=torch.int64, device=x.device)
    code = uneven_code(entries, entries, len(x), None)
    code.times(entries.to(x.dtype), weight, None, dtype=x.dtype)
    code.transposed_times(entries.to(x.dtype), x, n_latents=len(weight), dtype=weight.dtype)


def make(generator: torch.Generator, *, n: int, d: int, f: int, count: int, zeros: bool) -> dict:
    """A layer."""
    return quarters(generator, n=n, d=d, f=f, zeros=zeros) | {"count": count}
