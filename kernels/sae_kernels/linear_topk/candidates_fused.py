"""The product of linear + top-k: of each tile of outputs a few candidates per row, as keys."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from sae_kernels.launch import launch
from sae_kernels.tiles_fused import product_tile, tile_of


class Layer(NamedTuple):
    """A linear layer and its input; with `latents` only the first `n_live` outputs listed there."""

    x: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    latents: torch.Tensor | None
    n_live: torch.Tensor | None


class Plan(NamedTuple):
    """How a top-k is made: tile sizes, candidates `kept` per row of a tile (the `whole` tile or
    not), tiles side by side, rows that one call makes."""

    block_m: int
    block_n: int
    block_k: int
    kept: int
    whole: bool
    n_tiles: int
    rows_at_once: int


def candidate_keys(layer: Layer, plan: Plan) -> torch.Tensor:
    """Keys (n, tiles, kept) int64 of the largest outputs > 0 of every tile, descending, then 0."""
    x, weight = layer.x, layer.weight
    n, d = x.shape
    keys = torch.empty(n, plan.n_tiles, plan.kept, dtype=torch.int64, device=x.device)
    arguments = layer._asdict() | {
        "keys": keys,
        "n": n,
        "f": weight.shape[0],
        "d": d,
        "n_tiles": plan.n_tiles,
    }
    constants = {
        "LISTED": layer.latents is not None,
        "KEPT": plan.kept,
        "SLOTS": triton.next_power_of_2(plan.kept),
        "WHOLE": plan.whole,
        # Triton's interpreter, the only one to run this on the CPU, cannot multiply bfloat16.
        "WIDEN": x.dtype != weight.dtype or x.device.type == "cpu",
        "BLOCK_M": plan.block_m,
        "BLOCK_N": plan.block_n,
        "BLOCK_K": plan.block_k,
        "GROUP_M": 8,
    }
    grid = (triton.cdiv(n, plan.block_m) * plan.n_tiles,)
    launch(_product, grid, arguments, constants=constants, num_warps=8, num_stages=3)
    return keys


@triton.jit
def ordered_bits(z):
    """Bits of z as int32 >= 0, ordered like the values: 0 for z <= 0, NaN above everything."""
    bits = tl.where(z > 0, z, 0.0).to(tl.int32, bitcast=True)
    return tl.where(z != z, 0x7FC00000, bits)


@triton.jit
def as_keys(bits, positions):
    """Unequal keys that order like the bits and, of equal ones, the lower position first."""
    keys = (bits.to(tl.int64) << 32) | (0x7FFFFFFF - positions).to(tl.int64)
    return tl.where(bits > 0, keys, 0)


@triton.jit
def listed(latents, positions, valid, LISTED: tl.constexpr):
    """The outputs at these positions: themselves, or what the list says."""
    if LISTED:
        outputs = tl.load(latents + positions, mask=valid, other=0).to(tl.int64)
    else:
        outputs = positions.to(tl.int64)
    return outputs


@triton.jit
def _largest_of_tile(
    bits,
    first,
    KEPT: tl.constexpr,
    SLOTS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    slot = tl.arange(0, SLOTS)
    column = tl.arange(0, BLOCK_N)
    kept = tl.zeros([BLOCK_M, SLOTS], tl.int64)
    for turn in range(KEPT):
        best = tl.max(bits, axis=1)
        at = tl.min(tl.where(bits == best[:, None], column[None, :], BLOCK_N), axis=1)
        kept = tl.where(slot[None, :] == turn, as_keys(best, first + at)[:, None], kept)
        bits = tl.where(column[None, :] == at[:, None], 0, bits)
    return kept


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
    row_tile, tile = tile_of(tl.program_id(0), n, n_tiles, BLOCK_M, GROUP_M)
    rows = (row_tile * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)
    positions = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    limit = f
    if LISTED:
        limit = tl.load(n_live).to(tl.int32)
    slot = tl.arange(0, SLOTS)
    places = keys + (rows[:, None] * n_tiles + tile) * KEPT + slot[None, :]
    stored = (rows < n)[:, None] & (slot < KEPT)[None, :]
    if tile * BLOCK_N >= limit:
        tl.store(places, tl.zeros([BLOCK_M, SLOTS], tl.int64), mask=stored)
    else:
        valid = positions < limit
        outputs = listed(latents, positions, valid, LISTED)
        z = product_tile(
            x, weight, rows, rows < n, outputs, valid, d, WIDEN, BLOCK_M, BLOCK_N, BLOCK_K
        )
        z += tl.load(bias + outputs, mask=valid, other=0.0).to(tl.float32)[None, :]
        bits = tl.where(valid[None, :], ordered_bits(z), 0)
        if WHOLE:
            kept = as_keys(bits, positions[None, :])
        else:
            kept = _largest_of_tile(bits, tile * BLOCK_N, KEPT, SLOTS, BLOCK_M, BLOCK_N)
        tl.store(places, kept, mask=stored)
