"""Sums of weighted rows by latent on the GPU: sorted segments, no atomics, summed in float32."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from sae_kernels.latent_order import LatentOrder
from sae_kernels.launch import launch

_BLOCK_T, _BLOCK_D = 8, 512


def segment_sums(
    code: LatentOrder,
    weights: torch.Tensor,
    source: torch.Tensor,
    *,
    dtype: torch.dtype,
    tokens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums by latent of weights_tj · source_t, (f, d), and of weights_tj alone, (f,).

    `weights` (n, k), or (m,) with the token of each entry in `tokens` (m,).
    """
    n_latents, d = code.starts.shape[0] - 1, source.shape[1]
    sums = torch.empty(n_latents, d, dtype=dtype, device=source.device)
    weight_sums = torch.empty(n_latents, dtype=dtype, device=source.device)
    block_d = min(_BLOCK_D, triton.next_power_of_2(d))
    arguments = {
        "order": code.order,
        "starts": code.starts,
        "weights": weights.contiguous(),
        "source": source.contiguous(),
        "tokens": None if tokens is None else tokens.contiguous(),
        "sums": sums,
        "weight_sums": weight_sums,
        "k": weights.shape[1] if tokens is None else 1,
        "d": d,
    }
    constants = {"RAGGED": tokens is not None, "BLOCK_T": _BLOCK_T, "BLOCK_D": block_d}
    launch(_segment_sums, (n_latents, triton.cdiv(d, block_d)), arguments, constants=constants)
    return sums, weight_sums


@triton.jit
def _segment_sums(
    order,
    starts,
    weights,
    source,
    tokens,
    sums,
    weight_sums,
    k,
    d,
    RAGGED: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    latent = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1)
    columns = block * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = columns < d
    start = tl.load(starts + latent)
    stop = tl.load(starts + latent + 1)
    total = tl.zeros([BLOCK_D], tl.float32)
    mass = tl.zeros([BLOCK_T], tl.float32)
    for first in range(start, stop, BLOCK_T):
        places = first + tl.arange(0, BLOCK_T)
        present = places < stop
        entries = tl.load(order + places, mask=present, other=0)
        factors = tl.load(weights + entries, mask=present, other=0.0).to(tl.float32)
        if RAGGED:
            token = tl.load(tokens + entries, mask=present, other=0).to(tl.int64)
        else:
            token = entries // k
        at = source + token[:, None] * d + columns[None, :]
        rows = tl.load(at, mask=present[:, None] & inside[None, :], other=0.0).to(tl.float32)
        total += tl.sum(factors[:, None] * rows, axis=0)
        mass += factors
    tl.store(sums + latent * d + columns, total.to(sums.dtype.element_ty), mask=inside)
    if block == 0:
        tl.store(weight_sums + latent, tl.sum(mass, axis=0).to(weight_sums.dtype.element_ty))
