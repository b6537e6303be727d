"""Firing statistics on the GPU: one sort by latent and value, one program for each latent."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from sae_kernels.launch import launch

_BLOCK = 128


def firing_statistics(
    indices: torch.Tensor, values: torch.Tensor, *, n_latents: int, top: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Counts and sums (f,), top values and tokens (f, top)."""
    # Bits of floats > 0 order as the floats do; of equal keys the sort keeps the earlier token.
    bits = values.float().contiguous().view(torch.int32).to(torch.int64)
    latents = torch.where(values > 0, indices, n_latents)
    keys = (latents << 32) | (0x7FFFFFFF - (bits & 0x7FFFFFFF))
    keys, order = keys.reshape(-1).sort(stable=True)
    numbers = torch.arange(n_latents + 1, device=values.device)
    starts = torch.searchsorted(keys >> 32, numbers)
    sums = values.new_empty(n_latents)
    top_values = values.new_empty(n_latents, top)
    top_tokens = torch.empty(n_latents, top, dtype=torch.int64, device=values.device)
    arguments = {
        "order": order,
        "starts": starts,
        "values": values.contiguous(),
        "sums": sums,
        "top_values": top_values,
        "top_tokens": top_tokens,
        "k": values.shape[1],
        "top": top,
    }
    constants = {"BLOCK": _BLOCK, "SLOTS": triton.next_power_of_2(top)}
    launch(_statistics, (n_latents,), arguments, constants=constants, num_warps=1)
    return starts.diff(), sums, top_values, top_tokens


@triton.jit
def _statistics(
    order,
    starts,
    values,
    sums,
    top_values,
    top_tokens,
    k,
    top,
    BLOCK: tl.constexpr,
    SLOTS: tl.constexpr,
):
    latent = tl.program_id(0).to(tl.int64)
    start = tl.load(starts + latent)
    stop = tl.load(starts + latent + 1)
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(start, stop, BLOCK):
        places = first + tl.arange(0, BLOCK)
        entries = tl.load(order + places, mask=places < stop, other=0)
        total += tl.load(values + entries, mask=places < stop, other=0.0).to(tl.float32)
    tl.store(sums + latent, tl.sum(total, axis=0).to(sums.dtype.element_ty))
    slots = tl.arange(0, SLOTS)
    filled = (slots < top) & (start + slots < stop)
    entries = tl.load(order + start + slots, mask=filled, other=0)
    found = tl.load(values + entries, mask=filled, other=0.0)
    tl.store(top_values + latent * top + slots, found, mask=slots < top)
    tl.store(
        top_tokens + latent * top + slots, tl.where(filled, entries // k, -1), mask=slots < top
    )
