"""Firing statistics on the GPU: one sort by latent, one program for each latent's entries."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from sae_kernels.latent_order import latent_order
from sae_kernels.launch import launch

_BLOCK = 128


def firing_statistics(
    indices: torch.Tensor, values: torch.Tensor, *, n_latents: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Counts, sums, maxima and top tokens (f,)."""
    values = torch.where(values > 0, values, 0.0).contiguous()
    code = latent_order(indices, values, n_latents=n_latents)
    sums, maxima = (values.new_empty(n_latents) for _ in range(2))
    top_tokens = torch.empty(n_latents, dtype=torch.int64, device=values.device)
    arguments = {
        "order": code.order,
        "starts": code.starts,
        "values": values,
        "sums": sums,
        "maxima": maxima,
        "top_tokens": top_tokens,
        "n": values.shape[0],
        "k": values.shape[1],
    }
    launch(_statistics, (n_latents,), arguments, constants={"BLOCK": _BLOCK}, num_warps=1)
    return code.starts.diff(), sums, maxima, top_tokens


@triton.jit
def _statistics(order, starts, values, sums, maxima, top_tokens, n, k, BLOCK: tl.constexpr):
    latent = tl.program_id(0).to(tl.int64)
    start = tl.load(starts + latent)
    stop = tl.load(starts + latent + 1)
    total = tl.zeros([BLOCK], tl.float32)
    highest = tl.zeros([BLOCK], tl.float32)
    tokens = tl.full([BLOCK], 0, tl.int64) + n
    for first in range(start, stop, BLOCK):
        places = first + tl.arange(0, BLOCK)
        present = places < stop
        entries = tl.load(order + places, mask=present, other=0)
        found = tl.load(values + entries, mask=present, other=0.0).to(tl.float32)
        total += found
        # Entries are in order of token: the first of equal values stays.
        tokens = tl.where(found > highest, entries // k, tokens)
        highest = tl.maximum(found, highest)
    best = tl.max(highest, axis=0)
    token = tl.min(tl.where(highest == best, tokens, n), axis=0)
    tl.store(sums + latent, tl.sum(total, axis=0).to(sums.dtype.element_ty))
    tl.store(maxima + latent, best.to(maxima.dtype.element_ty))
    tl.store(top_tokens + latent, tl.where(stop > start, token, -1))
