"""Sums of weighted rows by latent on the GPU: sorted segments, no atomics, summed in float32."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.gathers_fused import row_dots, weighted_rows
from sae_kernels.latent_order import LatentOrder, latent_order
from sae_kernels.launch import launch

_BLOCK_T, _BLOCK_D = 8, 512


def sparse_outer(
    indices: torch.Tensor, weights: torch.Tensor, source: torch.Tensor, *, n_latents: int
) -> torch.Tensor:
    """Row i is Σ weights_tj · source_t over the entries with indices_tj = i, (f, d)."""
    return _SparseOuter.apply(indices, weights, source, n_latents)


class _SparseOuter(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        indices: torch.Tensor,
        weights: torch.Tensor,
        source: torch.Tensor,
        n_latents: int,
    ) -> torch.Tensor:
        ctx.save_for_backward(indices, weights, source)
        sorted_code = latent_order(indices, weights, n_latents=n_latents)
        dtype = torch.promote_types(weights.dtype, source.dtype)
        return segment_sums(sorted_code, weights, source, dtype=dtype)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        indices, weights, source = ctx.saved_tensors
        d_weights = d_source = None
        if ctx.needs_input_grad[1]:
            d_weights = row_dots(source, grad, indices, dtype=weights.dtype)
        if ctx.needs_input_grad[2]:
            d_source = weighted_rows(indices, weights, grad, None, dtype=source.dtype)
        return None, d_weights, d_source, None


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
