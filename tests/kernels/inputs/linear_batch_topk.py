"""Inputs of linear_batch_topk: multiples of 1/4, so that sums are exact and equal values many."""

from __future__ import annotations

import torch

GRADIENTS = ("x", "weight", "bias")
SIZES = {"n": (1, 3, 9), "d": (1, 3, 33), "f": (1, 33, 200), "count": (1, 7, 99, 10_000)}
EXAMPLES = (
    {"n": 5, "d": 33, "f": 33, "count": 165},
    {"n": 2, "d": 4096, "f": 33, "count": 9},
    {"n": 9, "d": 16, "f": 300, "count": 60},
)
COMPILED = ({"n": 8192, "d": 768, "f": 24576, "count": 8192 * 32},)


def walk(arguments: dict) -> None:
    """What the operation launches, without the sizes that it reads from the device."""
    from sae_kernels.linear_batch_topk import fused
    from sae_kernels.linear_topk.candidates_fused import Layer, candidate_keys

    x, weight, bias = (arguments[name] for name in GRADIENTS)
    layer = Layer(x, weight, bias, None, None)
    made = fused.batch_plan(layer, arguments["count"])
    pairs = torch.empty(1000, 2, dtype=torch.int64, device=x.device)
    fused.tile_bits(layer, made, candidate_keys(layer, made), pairs)
    entries = torch.empty(arguments["count"], dtype=torch.int64, device=x.device)
    fused.gradients(entries.to(x.dtype), x, weight, entries, entries, bias_dtype=bias.dtype)


def make(generator: torch.Generator, *, n: int, d: int, f: int, count: int, zeros: bool) -> dict:
    """A layer; `zeros` adds a zero token and latents that fire for no token."""
    x = torch.randint(-4, 5, (n, d), generator=generator) / 4
    weight = torch.randint(-4, 5, (f, d), generator=generator) / 4
    bias = torch.randint(-4, 5, (f,), generator=generator) / 4
    if zeros:
        x[:1], weight[: f // 2], bias[: f // 2] = 0, 0, -1
    return {"x": x, "weight": weight, "bias": bias, "count": count}
