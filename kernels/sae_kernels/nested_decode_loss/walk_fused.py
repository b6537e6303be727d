"""Triton kernels that walk along the nested errors of a token, forward and back."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def forward(
    x,
    starts,
    columns,
    values,
    dictionary,
    bias,
    weights,
    bias_weights,
    last,
    parts,
    n,
    d,
    BLOCK_D: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    chunk = tl.program_id(1)
    inner = chunk * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = inner < d
    error = tl.load(x + row * d + inner, mask=inside, other=0.0).to(tl.float32)
    error -= tl.load(bias + inner, mask=inside, other=0.0).to(tl.float32)
    total = tl.load(bias_weights + row).to(tl.float32) * error * error
    for entry in range(tl.load(starts + row), tl.load(starts + row + 1)):
        value = tl.load(values + entry).to(tl.float32)
        weight = tl.load(weights + entry).to(tl.float32)
        latent = tl.load(columns + entry).to(tl.int64)
        direction = tl.load(dictionary + latent * d + inner, mask=inside, other=0.0)
        error -= value * direction.to(tl.float32)
        total += weight * error * error
    tl.store(last + row * d + inner, error, mask=inside)
    tl.store(parts + chunk.to(tl.int64) * n + row, tl.sum(total, axis=0))


@triton.jit
def curve(x, columns, values, dictionary, bias, squares, n, k, d, BLOCK_D: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    chunk = tl.program_id(1).to(tl.int64)
    inner = chunk * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = inner < d
    error = tl.load(x + row * d + inner, mask=inside, other=0.0).to(tl.float32)
    error -= tl.load(bias + inner, mask=inside, other=0.0).to(tl.float32)
    place = squares + (chunk * n + row) * (k + 1)
    tl.store(place, tl.sum(error * error, axis=0))
    for j in range(0, k):
        value = tl.load(values + row * k + j).to(tl.float32)
        latent = tl.load(columns + row * k + j).to(tl.int64)
        direction = tl.load(dictionary + latent * d + inner, mask=inside, other=0.0)
        error -= value * direction.to(tl.float32)
        tl.store(place + j + 1, tl.sum(error * error, axis=0))


@triton.jit
def backward(
    grad,
    last,
    starts,
    columns,
    values,
    dictionary,
    weights,
    bias_weights,
    d_x,
    d_values,
    pulled,
    m,
    d,
    first,
    stop,
    PULL: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    chunk = tl.program_id(1).to(tl.int64)
    inner = chunk * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = inner < d
    begin = tl.load(starts + row)
    end = tl.load(starts + row + 1)
    # Of a token whose entries two blocks share, both write everything, the same numbers.
    if ((begin < stop) & (end > first)) | ((begin == end) & (first == 0)):
        error = tl.load(last + row * d + inner, mask=inside, other=0.0)
        twice = 2.0 * tl.load(grad + row).to(tl.float32)
        suffix = tl.zeros([BLOCK_D], tl.float32)
        for back in range(0, end - begin):
            entry = end - 1 - back
            value = tl.load(values + entry).to(tl.float32)
            latent = tl.load(columns + entry).to(tl.int64)
            direction = tl.load(dictionary + latent * d + inner, mask=inside, other=0.0)
            direction = direction.to(tl.float32)
            suffix += tl.load(weights + entry).to(tl.float32) * error
            tl.store(d_values + chunk * m + entry, -twice * tl.sum(suffix * direction, axis=0))
            if PULL and (entry >= first) & (entry < stop):
                place = pulled + (entry - first) * d + inner
                tl.store(place, -twice * value * suffix, mask=inside)
            error += value * direction
        suffix += tl.load(bias_weights + row).to(tl.float32) * error
        tl.store(d_x + row * d + inner, twice * suffix, mask=inside)


@triton.jit
def add_segments(keys, order, pulled, sums, m, n_latents, d, BLOCK_D: tl.constexpr):
    place = tl.program_id(0).to(tl.int64)
    inner = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = inner < d
    latent = tl.load(keys + place).to(tl.int64)
    before = tl.load(keys + place - 1, mask=place > 0, other=-1)
    # The first entry of a latent takes those that follow it; the others have nothing to do.
    if (before != latent) & (latent < n_latents):
        total = tl.load(sums + latent * d + inner, mask=inside, other=0.0)
        current = latent
        while current == latent:
            entry = tl.load(order + place)
            total += tl.load(pulled + entry * d + inner, mask=inside, other=0.0)
            place += 1
            current = tl.load(keys + place, mask=place < m, other=-1).to(tl.int64)
        tl.store(sums + latent * d + inner, total, mask=inside)
