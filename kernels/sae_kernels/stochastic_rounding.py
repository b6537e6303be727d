"""Rounding to bfloat16 by chance that a seed, a step and a place decide: right on average.

A moment of Adam changes by a thousandth a step, bfloat16 numbers are 0.4 to 0.8 % apart: rounded
to the nearest it would never move. Rounded up with the probability of its distance to the lower
neighbour, its expectation is exact. The chance is a hash and no generator, so that a run continues
with the same bits, in any order of blocks and on any device.
"""

from __future__ import annotations

import torch

_LOW = 0xFFFF


def place_draws(seed: int, step: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """32 bits for each of `places` (int64 >= 0), as int32: a hash of (seed, step, place).

    `seed` in [0, 2^31), `step` 0-d. Equal to what the fused form draws. The hash is lowbias32 of
    C. Wellons, "Prospecting for hash functions" (2018).
    """
    key = _mixed(_mixed(torch.full((), seed, dtype=torch.int32, device=places.device)) ^ step.int())
    low, high = (places & 0xFFFFFFFF).to(torch.int32), (places >> 32).to(torch.int32)
    return _mixed(_mixed(low ^ key) ^ (high + key))


def rounded(values: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """`values` (float32) as bfloat16, by 16-bit `draws` (int32): up with probability
    (value − lower neighbour) / (upper − lower), in size. What bfloat16 holds, and what is not
    finite, stays."""
    bits = values.contiguous().view(torch.int32) + draws
    up_or_down = bits.bitwise_and_(~_LOW).view(torch.float32)
    return torch.where(values.isfinite(), up_or_down, values).to(torch.bfloat16)


def stored(
    moment: torch.Tensor, values: torch.Tensor, draws: torch.Tensor | None, *, second: bool
) -> None:
    """Writes `values` to a moment: by chance where it is bfloat16, the second moment's chance
    being the draws' upper half."""
    if draws is None:
        moment.copy_(values)
    else:
        moment.copy_(rounded(values.float(), (draws >> 16 if second else draws) & _LOW))


def _mixed(bits: torch.Tensor) -> torch.Tensor:
    """lowbias32 in int32, whose products wrap around and whose shifts bring in the sign."""
    bits = (bits ^ ((bits >> 16) & 0xFFFF)) * 0x7FEB352D
    bits = (bits ^ ((bits >> 15) & 0x1FFFF)) * (0x846CA68B - 2**32)
    return bits ^ ((bits >> 16) & 0xFFFF)
