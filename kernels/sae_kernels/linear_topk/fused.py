"""Linear + top-k on the GPU without the (n, f) outputs: a few candidates per tile leave the chip.

The product is made tile by tile. Of each row of a tile of T outputs only the c largest entries > 0
are written, each as one 64-bit key: the value's bits above, the position complemented below, so
that larger keys are larger values and of equal ones the lower position. No two keys are equal.
The k largest keys are then taken from the candidates.

Why that is exact. Let the k-th largest candidate be t (0 where there are fewer). An entry that a
tile left out is smaller than each of the c that it kept. If it belonged to the k largest of the
row, all c would belong to them, so the tile's smallest candidate would be >= t. Only such tiles
can hide anything: `_mend` makes all of their outputs again and takes the k largest of both. c is
chosen so that for evenly spread outputs about one row in a thousand has such a tile; another
spread costs time, never exactness. Where c would be a large part of the tile, all of it is kept.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.gathers_fused import weighted_rows
from sae_kernels.latent_order import latent_order
from sae_kernels.launch import launch
from sae_kernels.sparse_outer.fused import segment_sums

# Keys that one call of the product may write: 128 MB. More rows are made in several calls.
_MOST_KEYS = 2**24
_SELECT_WIDTH, _MOST_SELECTED, _MOST_MENDED = 512, 128, 1024
_MENDED_SHARE = 1e-3


class Plan(NamedTuple):
    """How a top-k of k over f outputs is made: a function of the sizes and nothing else."""

    block_m: int
    block_n: int
    block_k: int
    kept: int
    whole: bool
    n_tiles: int
    rows_at_once: int


def linear_topk(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and values (n, k) of the k largest of x·weightᵀ + bias, after ReLU."""
    return LinearTopk.apply(x, weight, bias, k, None, None)


class LinearTopk(torch.autograd.Function):
    """Top-k over all outputs, or over the first `n_live` of a list of outputs `latents`."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        k: int,
        latents: torch.Tensor | None,
        n_live: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys = largest_keys(x, weight, bias, k, latents=latents, n_live=n_live)
        values = (keys >> 32).to(torch.int32).view(torch.float32).to(x.dtype)
        positions = torch.where(keys == 0, 0, 0x7FFFFFFF - (keys & 0x7FFFFFFF))
        indices = positions if latents is None else latents[positions]
        indices = indices.masked_fill(values == 0, 0)
        ctx.save_for_backward(x, weight, indices, values)
        ctx.bias_dtype = bias.dtype
        ctx.mark_non_differentiable(indices)
        return indices, values

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, _: torch.Tensor, grad: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        x, weight, indices, values = ctx.saved_tensors
        grad = grad.masked_fill(values <= 0, 0)
        d_x = d_weight = d_bias = None
        if ctx.needs_input_grad[0]:
            d_x = weighted_rows(indices, grad, weight, None, dtype=x.dtype)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            code = latent_order(indices, values, n_latents=weight.shape[0])
            d_weight, d_bias = segment_sums(code, grad, x, dtype=weight.dtype)
            d_bias = d_bias.to(ctx.bias_dtype)
        return d_x, d_weight, d_bias, None, None, None


@cache
def plan(n: int, d: int, f: int, k: int, *, half: bool, spread: float) -> Plan:
    """Tiles and candidates; `spread`: how many times more than evenly a tile may be hit."""
    block_n = min(128, max(16, triton.next_power_of_2(f)))
    n_tiles = triton.cdiv(f, block_n)
    kept = candidates(k * block_n / f * spread, n_tiles)
    whole = kept > block_n // 4 or k > _MOST_MENDED
    kept = block_n if whole else kept
    rows_at_once = max(128, _MOST_KEYS // (n_tiles * kept))
    return Plan(
        block_m=128 if half else 64,
        block_n=block_n,
        block_k=64 if half else 32,
        kept=kept,
        whole=whole,
        n_tiles=n_tiles,
        rows_at_once=rows_at_once,
    )


def candidates(mean: float, n_tiles: int) -> int:
    """The least c for which fewer than one row in a thousand has a tile hit c times or more.

    Hits of a tile are taken as Poisson with this mean.
    """
    term = below = math.exp(-mean)
    count = 1
    while term > 0 and n_tiles * (1 - below) > _MENDED_SHARE and count < 4096:
        term *= mean / count
        below += term
        count += 1
    return count


def largest_keys(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: int,
    *,
    latents: torch.Tensor | None,
    n_live: torch.Tensor | None,
) -> torch.Tensor:
    """Keys (n, k) int64 of the k largest outputs > 0, descending; 0 where there are fewer."""
    n, d = x.shape
    x, weight, bias = x.contiguous(), weight.contiguous(), bias.contiguous()
    half = x.dtype != torch.float32 and weight.dtype == x.dtype
    made = plan(n, d, len(weight), k, half=half, spread=1.0 if latents is None else 4.0)
    found = torch.empty(n, k, dtype=torch.int64, device=x.device)
    for start in range(0, n, made.rows_at_once):
        part = x[start : start + made.rows_at_once]
        keys = _candidate_keys(part, weight, bias, made, latents, n_live)
        top = found[start : start + made.rows_at_once]
        _select(keys, top, k)
        if not made.whole:
            _mend_rows(part, weight, bias, keys, top, made, latents, n_live)
    return found


def _candidate_keys(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    made: Plan,
    latents: torch.Tensor | None,
    n_live: torch.Tensor | None,
) -> torch.Tensor:
    n, d = x.shape
    keys = torch.empty(n, made.n_tiles, made.kept, dtype=torch.int64, device=x.device)
    arguments = {
        "x": x,
        "weight": weight,
        "bias": bias,
        "latents": latents,
        "n_live": n_live,
        "keys": keys,
        "n": n,
        "f": weight.shape[0],
        "d": d,
        "n_tiles": made.n_tiles,
    }
    constants = {
        "LISTED": latents is not None,
        "KEPT": made.kept,
        "SLOTS": triton.next_power_of_2(made.kept),
        "WHOLE": made.whole,
        # Triton's interpreter, the only one to run this on the CPU, cannot multiply bfloat16.
        "WIDEN": x.dtype != weight.dtype or x.device.type == "cpu",
        "BLOCK_M": made.block_m,
        "BLOCK_N": made.block_n,
        "BLOCK_K": made.block_k,
        "GROUP_M": 8,
    }
    grid = (triton.cdiv(n, made.block_m) * made.n_tiles,)
    launch(_product, grid, arguments, constants=constants, num_warps=8, num_stages=3)
    return keys


def _select(keys: torch.Tensor, top: torch.Tensor, k: int) -> None:
    """Writes the k largest keys of each row, descending."""
    n, m = keys.shape[0], keys.shape[1] * keys.shape[2]
    if k > _MOST_SELECTED:
        # Keys are unequal, except the 0 of padding: the library's choice among equals is no choice.
        top.copy_(keys.view(n, m).topk(k, dim=1).values)
        return
    slots = max(2, triton.next_power_of_2(k))
    width = max(slots, min(_SELECT_WIDTH, triton.next_power_of_2(m)))
    arguments = {"keys": keys, "top": top, "m": m, "k": k}
    launch(_largest, (n,), arguments, constants={"WIDTH": width, "SLOTS": slots})


def _mend_rows(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    keys: torch.Tensor,
    top: torch.Tensor,
    made: Plan,
    latents: torch.Tensor | None,
    n_live: torch.Tensor | None,
) -> None:
    n, d = x.shape
    k = top.shape[1]
    arguments = {
        "x": x,
        "weight": weight,
        "bias": bias,
        "latents": latents,
        "n_live": n_live,
        "keys": keys,
        "top": top,
        "f": weight.shape[0],
        "d": d,
        "k": k,
        "n_tiles": made.n_tiles,
    }
    slots = max(triton.next_power_of_2(k), made.block_n)
    constants = {
        "LISTED": latents is not None,
        "KEPT": made.kept,
        "TILES": triton.next_power_of_2(made.n_tiles),
        "BLOCK_N": made.block_n,
        "BLOCK_K": max(1, min(triton.next_power_of_2(d), 2048 // slots)),
        "SLOTS": slots,
    }
    launch(_mend, (n,), arguments, constants=constants)


@triton.jit
def _ordered_bits(z):
    """Bits of z as int32 >= 0, ordered like the values: 0 for z <= 0, NaN above everything."""
    bits = tl.where(z > 0, z, 0.0).to(tl.int32, bitcast=True)
    return tl.where(z != z, 0x7FC00000, bits)


@triton.jit
def _as_keys(bits, positions):
    keys = (bits.to(tl.int64) << 32) | (0x7FFFFFFF - positions).to(tl.int64)
    return tl.where(bits > 0, keys, 0)


@triton.jit
def _product(
    x,
    weight,
    bias,
    latents,
    n_live,
    keys,
    n,
    f,
    d,
    n_tiles,
    LISTED: tl.constexpr,
    KEPT: tl.constexpr,
    SLOTS: tl.constexpr,
    WHOLE: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    # Programs that run at the same time share GROUP_M tiles of rows, so that weights are read from
    # the cache.
    program = tl.program_id(0)
    n_row_tiles = tl.cdiv(n, BLOCK_M)
    group = program // (GROUP_M * n_tiles)
    height = min(n_row_tiles - group * GROUP_M, GROUP_M)
    row_tile = group * GROUP_M + program % (GROUP_M * n_tiles) % height
    tile = program % (GROUP_M * n_tiles) // height
    rows = (row_tile * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    column = tl.arange(0, BLOCK_N)
    positions = tile * BLOCK_N + column
    limit = f
    if LISTED:
        limit = tl.load(n_live).to(tl.int32)
    valid = positions < limit
    slot = tl.arange(0, SLOTS)
    places = keys + (rows[:, None] * n_tiles + tile) * KEPT + slot[None, :]
    stored = (rows < n)[:, None] & (slot < KEPT)[None, :]
    if tile * BLOCK_N >= limit:
        tl.store(places, tl.zeros([BLOCK_M, SLOTS], tl.int64), mask=stored)
    else:
        if LISTED:
            outputs = tl.load(latents + positions, mask=valid, other=0).to(tl.int64)
        else:
            outputs = positions.to(tl.int64)
        total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
        for start in range(0, d, BLOCK_K):
            inner = start + tl.arange(0, BLOCK_K)
            inside = inner < d
            a = tl.load(
                x + rows[:, None] * d + inner[None, :],
                mask=(rows < n)[:, None] & inside[None, :],
                other=0.0,
            )
            b = tl.load(
                weight + outputs[None, :] * d + inner[:, None],
                mask=valid[None, :] & inside[:, None],
                other=0.0,
            )
            if WIDEN:
                a, b = a.to(tl.float32), b.to(tl.float32)
            total = tl.dot(a, b, total, input_precision="ieee")
        offsets = tl.load(bias + outputs, mask=valid, other=0.0).to(tl.float32)
        bits = _ordered_bits(total + offsets[None, :])
        bits = tl.where(valid[None, :], bits, 0)
        if WHOLE:
            kept = _as_keys(bits, positions[None, :])
        else:
            kept = tl.zeros([BLOCK_M, SLOTS], tl.int64)
            for turn in range(KEPT):
                best = tl.max(bits, axis=1)
                at = tl.min(tl.where(bits == best[:, None], column[None, :], BLOCK_N), axis=1)
                key = _as_keys(best, tile * BLOCK_N + at)
                kept = tl.where(slot[None, :] == turn, key[:, None], kept)
                bits = tl.where(column[None, :] == at[:, None], 0, bits)
        tl.store(places, kept, mask=stored)


@triton.jit
def _largest(keys, top, m, k, WIDTH: tl.constexpr, SLOTS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    best = tl.zeros([SLOTS], tl.int64)
    for start in range(0, m, WIDTH):
        places = start + tl.arange(0, WIDTH)
        part = tl.topk(tl.load(keys + row * m + places, mask=places < m, other=0), SLOTS)
        best = tl.topk(tl.reshape(tl.join(best, part), [2 * SLOTS]), SLOTS)
    slots = tl.arange(0, SLOTS)
    tl.store(top + row * k + slots, best, mask=slots < k)


@triton.jit
def _mend(
    x,
    weight,
    bias,
    latents,
    n_live,
    keys,
    top,
    f,
    d,
    k,
    n_tiles,
    LISTED: tl.constexpr,
    KEPT: tl.constexpr,
    TILES: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SLOTS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    tiles = tl.arange(0, TILES)
    least = keys + (row * n_tiles + tiles) * KEPT + KEPT - 1
    least = tl.load(least, mask=tiles < n_tiles, other=0)
    threshold = tl.load(top + row * k + k - 1)
    suspect = (least > 0) & (least >= threshold)
    left = tl.sum(suspect.to(tl.int32), axis=0)
    if left > 0:
        limit = f
        if LISTED:
            limit = tl.load(n_live).to(tl.int32)
        slots = tl.arange(0, SLOTS)
        best = tl.load(top + row * k + slots, mask=slots < k, other=0)
        while left > 0:
            tile = tl.min(tl.where(suspect, tiles, TILES), axis=0)
            suspect = suspect & (tiles != tile)
            left -= 1
            positions = tile * BLOCK_N + slots
            valid = (slots < BLOCK_N) & (positions < limit)
            if LISTED:
                outputs = tl.load(latents + positions, mask=valid, other=0).to(tl.int64)
            else:
                outputs = positions.to(tl.int64)
            z = tl.load(bias + outputs, mask=valid, other=0.0).to(tl.float32)
            for start in range(0, d, BLOCK_K):
                inner = start + tl.arange(0, BLOCK_K)
                inside = inner < d
                a = tl.load(x + row * d + inner, mask=inside, other=0.0).to(tl.float32)
                b = tl.load(
                    weight + outputs[:, None] * d + inner[None, :],
                    mask=valid[:, None] & inside[None, :],
                    other=0.0,
                ).to(tl.float32)
                z += tl.sum(a[None, :] * b, axis=1)
            fresh = _as_keys(tl.where(valid, _ordered_bits(z), 0), positions)
            for turn in range(KEPT):
                known = tl.load(keys + (row * n_tiles + tile) * KEPT + turn)
                fresh = tl.where(0x7FFFFFFF - (known & 0x7FFFFFFF) == positions, 0, fresh)
            both = tl.reshape(tl.join(best, fresh), [2 * SLOTS])
            best = tl.topk(both, SLOTS)
        tl.store(top + row * k + slots, best, mask=slots < k)
