"""Linear + batch top-k on the GPU: the candidates of linear_topk, one threshold for the batch.

Let t be the value that is number `count` among the candidates (0 where there are fewer). The true
threshold is not below it, for outputs that were left out can only raise it. An output that a tile
left out is not above the least that the tile kept of its row; so only tiles all of whose candidates
are among the `count` largest of them can hide one of the largest. All outputs of those are made
again, and the choice is among both.
Nothing waits for the device. Of c candidates a tile, at most count / c tiles can be such ones: as
many are provided for, and those that are not needed are left at once. Entries are put together by
searching the numbers 1, 2, ... in the running count of what was chosen.
"""

from __future__ import annotations

from functools import partial

import torch
import triton
import triton.language as tl

from sae_kernels.code_fused import FusedCode, behind, uneven_code
from sae_kernels.code_product import ragged_outputs
from sae_kernels.code_sort import CodeSort
from sae_kernels.launch import launch
from sae_kernels.linear_topk.candidates_fused import Layer, Plan, candidate_keys, ordered_bits
from sae_kernels.linear_topk.fused import plan
from sae_kernels.linear_topk.selection_fused import outputs_of_row
from sae_kernels.ragged import RaggedCode

# Tokens differ in how many of their outputs are kept: tiles keep as many as for twice the mean.
_SPREAD = 2.0


def linear_batch_topk(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    count: int,
    *,
    sort: CodeSort | None,
) -> RaggedCode:
    """The `count` largest entries > 0 of x·weightᵀ + bias over the whole batch."""
    return ragged_outputs(x, weight, bias, partial(_kept, count=count, sort=sort))


def _kept(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, count: int, sort: CodeSort | None
) -> tuple[FusedCode, torch.Tensor]:
    layer = Layer(x.contiguous(), weight.contiguous(), bias.contiguous(), None, None)
    count = min(count, len(x) * len(weight))
    if not count:
        nothing = torch.empty(0, dtype=torch.int64, device=x.device)
        return uneven_code(nothing, nothing, len(x), sort), x.new_empty(0)
    places, bits = _largest(layer, batch_plan(layer, count), count)
    rows = places.div(len(weight), rounding_mode="floor")
    columns = places - rows * len(weight)
    values = bits.view(torch.float32).to(x.dtype)
    return uneven_code(behind(rows, values, len(x)), columns, len(x), sort), values


def batch_plan(layer: Layer, count: int) -> Plan:
    """The tiles of linear_topk for the mean number of kept entries per token."""
    x, weight = layer.x, layer.weight
    n, f = max(1, len(x)), len(weight)
    half = x.dtype != torch.float32 and weight.dtype == x.dtype
    return plan(f, min(f, -(-count // n)), half=half, spread=_SPREAD)


def tile_bits(layer: Layer, made: Plan, keys: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Ordered bits (p, tile) of all outputs of the tiles `pairs` (p, 2), rows and tiles.

    0 where an output is not > 0 or is among the tile's candidates already, and where a pair is −1.
    """
    bits = torch.empty(len(pairs), made.block_n, dtype=torch.int32, device=keys.device)
    d = layer.x.shape[1]
    arguments = {
        "x": layer.x,
        "weight": layer.weight,
        "bias": layer.bias,
        "keys": keys,
        "pairs": pairs.contiguous(),
        "bits": bits,
        "f": len(layer.weight),
        "d": d,
        "n_tiles": made.n_tiles,
    }
    constants = {
        "KEPT": made.kept,
        "BLOCK_N": made.block_n,
        "BLOCK_K": max(1, min(triton.next_power_of_2(d), 2048 // made.block_n)),
    }
    launch(_tile_bits, (len(pairs),), arguments, constants=constants)
    return bits


def _largest(layer: Layer, made: Plan, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat places (count,), ascending, of the `count` largest outputs > 0, and their bits as int32.

    Where there are fewer the rest has bits 0 and the place of the last row's first output.
    """
    n, f = len(layer.x), len(layer.weight)
    keys = candidate_keys(layer, made)
    bits = (keys >> 32).to(torch.int32)
    # Of equal candidates the one that stands first has the earlier place, within a tile too.
    chosen = _largest_of(bits.view(-1), count)
    at, found = _first(chosen, bits.view(-1), count)
    rows = at.div(made.n_tiles * made.kept, rounding_mode="floor")
    places = rows * f + 0x7FFFFFFF - (keys.view(-1)[at] & 0x7FFFFFFF)
    if not made.whole:
        hidden_places, hidden = _hidden(layer, made, keys, chosen, count)
        last = _ranked(torch.cat([found, hidden]), count)
        at, hidden = _first(_above(hidden, last, count), hidden, count)
        places, found = torch.cat([places, hidden_places[at]]), torch.cat([found, hidden])
        places, order = places.sort()
        found = found[order]
        at, found = _first(_largest_of(found, count), found, count)
        places = places[at]
    return places.masked_fill(found == 0, (n - 1) * f), found


def _hidden(
    layer: Layer, made: Plan, keys: torch.Tensor, chosen: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat places, ascending, and bits of what tiles left out all of whose candidates are chosen;
    bits are 0 where there is nothing. `chosen` (n · tiles · kept,): `count` of the candidates."""
    full = chosen.view(-1, made.kept)[:, -1]
    tiles, is_there = _first(full, full, max(1, min(count // made.kept, len(full))))
    rows = tiles.div(made.n_tiles, rounding_mode="floor")
    pairs = torch.stack([rows, tiles - rows * made.n_tiles], 1)
    bits = tile_bits(layer, made, keys, torch.where(is_there.unsqueeze(1), pairs, -1))
    columns = torch.arange(made.block_n, device=bits.device)
    starts = pairs[:, 0] * len(layer.weight) + pairs[:, 1] * made.block_n
    return (starts.unsqueeze(1) + columns).view(-1), bits.view(-1)


def _largest_of(bits: torch.Tensor, count: int) -> torch.Tensor:
    """Which are the `count` largest > 0, of equal ones the first."""
    return _above(bits, _ranked(bits, count), count)


def _above(bits: torch.Tensor, last: torch.Tensor, count: int) -> torch.Tensor:
    """Which are above `last`, and the first of those equal to it, up to `count`; never 0."""
    above, equal = bits > last, (bits == last) & (bits > 0)
    needed = count - above.sum()
    return above | (equal & (equal.cumsum(0, dtype=torch.int32) <= needed))


def _first(
    mask: torch.Tensor, values: torch.Tensor, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the first `size` true entries are, ascending, and the values there.

    Where there are fewer the last place of all, with value 0: nothing is counted by the host.
    """
    numbers = torch.arange(1, size + 1, dtype=torch.int32, device=mask.device)
    at = torch.searchsorted(mask.cumsum(0, dtype=torch.int32), numbers)
    there = at < len(mask)
    at = at.clamp(max=len(mask) - 1)
    return at, values[at].masked_fill(~there, 0)


def _ranked(bits: torch.Tensor, rank: int) -> torch.Tensor:
    """The value (0-d) that is number `rank` from the largest; 0 where there are fewer."""
    if rank > len(bits):
        return bits.new_zeros(())
    return bits.topk(rank, sorted=False).values.amin()


@triton.jit
def _tile_bits(
    x,
    weight,
    bias,
    keys,
    pairs,
    bits,
    f,
    d,
    n_tiles,
    KEPT: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    pair = tl.program_id(0).to(tl.int64)
    row = tl.load(pairs + 2 * pair)
    tile = tl.load(pairs + 2 * pair + 1)
    column = tl.arange(0, BLOCK_N)
    if row < 0:
        tl.store(bits + pair * BLOCK_N + column, tl.zeros([BLOCK_N], tl.int32))
    else:
        outputs = tile * BLOCK_N + column
        valid = outputs < f
        z = outputs_of_row(x, weight, bias, row, outputs, valid, d, BLOCK_K)
        found = tl.where(valid, ordered_bits(z), 0)
        for turn in range(KEPT):
            known = tl.load(keys + (row * n_tiles + tile) * KEPT + turn)
            found = tl.where(0x7FFFFFFF - (known & 0x7FFFFFFF) == outputs, 0, found)
        tl.store(bits + pair * BLOCK_N + column, found)
