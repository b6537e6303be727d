"""The selection of linear + top-k: the largest candidates, and the tiles that may hide larger."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from sae_kernels.launch import launch
from sae_kernels.linear_topk.candidates_fused import Layer, Plan, as_keys, listed, ordered_bits

_WIDTH, _MOST_SELECTED = 512, 128


def select(keys: torch.Tensor, top: torch.Tensor) -> None:
    """Writes the k largest keys of each row to `top` (n, k), descending."""
    n, k = top.shape
    m = keys.shape[1] * keys.shape[2]
    if k > _MOST_SELECTED:
        # Keys are unequal, except the 0 of padding: the library's choice among equals is no choice.
        top.copy_(keys.view(n, m).topk(k, dim=1).values)
        return
    slots = max(2, triton.next_power_of_2(k))
    width = max(slots, min(_WIDTH, triton.next_power_of_2(m)))
    arguments = {"keys": keys, "top": top, "m": m, "k": k}
    launch(_largest, (n,), arguments, constants={"WIDTH": width, "SLOTS": slots})


def mend(layer: Layer, plan: Plan, keys: torch.Tensor, top: torch.Tensor) -> None:
    """Makes `top` exact: all outputs of the tiles whose least candidate is among the k largest."""
    n, d = layer.x.shape
    k = top.shape[1]
    arguments = layer._asdict() | {
        "keys": keys,
        "top": top,
        "f": layer.weight.shape[0],
        "d": d,
        "k": k,
        "n_tiles": plan.n_tiles,
    }
    slots = max(triton.next_power_of_2(k), plan.block_n)
    constants = {
        "LISTED": layer.latents is not None,
        "KEPT": plan.kept,
        "TILES": triton.next_power_of_2(plan.n_tiles),
        "BLOCK_N": plan.block_n,
        "BLOCK_K": max(1, min(triton.next_power_of_2(d), 2048 // slots)),
        "SLOTS": slots,
    }
    # With fewer warps a thread holds more of the sort than it has registers for.
    launch(_mend, (n,), arguments, constants=constants, num_warps=16)


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
def outputs_of_row(x, weight, bias, row, outputs, valid, d, BLOCK_K: tl.constexpr):
    """x_row · weight[outputs] + bias[outputs] in float32."""
    z = tl.load(bias + outputs, mask=valid, other=0.0).to(tl.float32)
    for start in range(0, d, BLOCK_K):
        inner = start + tl.arange(0, BLOCK_K)
        inside = inner < d
        a = tl.load(x + row * d + inner, mask=inside, other=0.0).to(tl.float32)
        places = weight + outputs[:, None] * d + inner[None, :]
        b = tl.load(places, mask=valid[:, None] & inside[None, :], other=0.0).to(tl.float32)
        z += tl.sum(a[None, :] * b, axis=1)
    return z


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
    of_row = keys + row * n_tiles * KEPT
    least = tl.load(of_row + tiles * KEPT + KEPT - 1, mask=tiles < n_tiles, other=0)
    suspect = (least > 0) & (least >= tl.load(top + row * k + k - 1))
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
            outputs = listed(latents, positions, valid, LISTED)
            z = outputs_of_row(x, weight, bias, row, outputs, valid, d, BLOCK_K)
            fresh = as_keys(tl.where(valid, ordered_bits(z), 0), positions)
            # The tile's candidates are among the others already.
            for turn in range(KEPT):
                known = tl.load(of_row + tile * KEPT + turn)
                fresh = tl.where(0x7FFFFFFF - (known & 0x7FFFFFFF) == positions, 0, fresh)
            best = tl.topk(tl.reshape(tl.join(best, fresh), [2 * SLOTS]), SLOTS)
        tl.store(top + row * k + slots, best, mask=slots < k)
