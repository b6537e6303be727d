"""Nested decoding on the GPU: one walk along a token's latents forward, one back, O(k d) each.

Errors and suffix sums stay in registers. The dictionary's gradient needs a suffix sum for every
active latent: they go through a scratch of bounded size, block of entries by block, and each block
is added to the rows it names in the order of its entries: no atomics, the same bits every time.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.launch import launch

_BLOCK_D = 4096
_SCRATCH_ENTRIES = 2**26


def nested_decode_loss(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """Σ_j weights_nj · ‖e_nj‖², (n,)."""
    n, k = indices.shape
    weights = weights.expand(n, k + 1)
    code = (_even_starts(indices), indices.reshape(-1), values.reshape(-1))
    after, alone = weights[:, 1:].reshape(-1), weights[:, 0]
    return NestedLoss.apply(x, *code, dictionary, bias, after, alone)


def nested_errors(
    x: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    dictionary: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """‖e_nj‖², (n, k + 1)."""
    n, k = indices.shape
    d = dictionary.shape[1]
    block_d = _block_d(d)
    n_chunks = triton.cdiv(d, block_d)
    squares = torch.empty(n_chunks, n, k + 1, dtype=torch.float32, device=x.device)
    arguments = {
        "x": x.contiguous(),
        "columns": indices.contiguous(),
        "values": values.contiguous(),
        "dictionary": dictionary.contiguous(),
        "bias": bias.contiguous(),
        "squares": squares,
        "n": n,
        "k": k,
        "d": d,
    }
    constants = {"BLOCK_D": block_d}
    launch(_curve, (n, n_chunks), arguments, constants=constants, num_warps=_warps(block_d))
    return squares.sum(0).to(x.dtype)


class NestedLoss(torch.autograd.Function):
    """Σ_j w_nj ‖e_nj‖² (n,) of tokens whose entries are starts[n] : starts[n + 1].

    `weights` (m,) of the error after each entry and `bias_weights` (n,) of the bias alone.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: torch.Tensor,
        starts: torch.Tensor,
        columns: torch.Tensor,
        values: torch.Tensor,
        dictionary: torch.Tensor,
        bias: torch.Tensor,
        weights: torch.Tensor,
        bias_weights: torch.Tensor,
    ) -> torch.Tensor:
        n, d = x.shape
        code = (starts, columns.contiguous(), values.contiguous(), dictionary.contiguous())
        weighed = (weights.contiguous(), bias_weights.contiguous())
        last = torch.empty(n, d, dtype=torch.float32, device=x.device)
        loss = _walk(x.contiguous(), code, bias.contiguous(), weighed, last)
        ctx.save_for_backward(last, *code, *weighed)
        ctx.dtypes = (x.dtype, values.dtype, dictionary.dtype, bias.dtype)
        return loss.to(torch.promote_types(x.dtype, dictionary.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        last, *code = ctx.saved_tensors
        in_x, in_values, in_dictionary, in_bias = ctx.dtypes
        d_x, d_values, d_dictionary = _walk_back(
            grad.contiguous(), last, code, pull=ctx.needs_input_grad[4]
        )
        d_bias = -d_x.sum(0)
        if d_dictionary is not None:
            d_dictionary = d_dictionary.to(in_dictionary)
        return (
            d_x.to(in_x),
            None,
            None,
            d_values.to(in_values),
            d_dictionary,
            d_bias.to(in_bias),
            None,
            None,
        )


def _walk(
    x: torch.Tensor,
    code: tuple[torch.Tensor, ...],
    bias: torch.Tensor,
    weighed: tuple[torch.Tensor, ...],
    last: torch.Tensor,
) -> torch.Tensor:
    """The losses (n,) in float32; writes every token's last error."""
    n, d = x.shape
    block_d = min(1024, _block_d(d))
    n_chunks = triton.cdiv(d, block_d)
    parts = torch.empty(n_chunks, n, dtype=torch.float32, device=x.device)
    starts, columns, values, dictionary = code
    arguments = {
        "x": x,
        "starts": starts,
        "columns": columns,
        "values": values,
        "dictionary": dictionary,
        "bias": bias,
        "weights": weighed[0],
        "bias_weights": weighed[1],
        "last": last,
        "parts": parts,
        "n": n,
        "d": d,
    }
    constants = {"BLOCK_D": block_d}
    launch(_forward, (n, n_chunks), arguments, constants=constants, num_warps=_warps(block_d))
    return parts.sum(0)


def _walk_back(
    grad: torch.Tensor, last: torch.Tensor, code: list[torch.Tensor], *, pull: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Gradients in float32 to x, values and, where `pull`, the dictionary."""
    starts, columns, values, dictionary, weights, bias_weights = code
    n, d = last.shape
    m, n_latents = len(columns), len(dictionary)
    block_d = _block_d(d)
    n_chunks = triton.cdiv(d, block_d)
    d_x = torch.empty_like(last)
    d_values = torch.empty(n_chunks, m, dtype=torch.float32, device=last.device)
    size = _entries_at_once(m, d, n) if pull else max(m, 1)
    d_dictionary = torch.zeros(n_latents, d, device=last.device) if pull else None
    pulled = torch.empty(size, d, device=last.device) if pull else None
    for first in range(0, max(m, 1), size):
        stop = min(m, first + size)
        arguments = {
            "grad": grad,
            "last": last,
            "starts": starts,
            "columns": columns,
            "values": values,
            "dictionary": dictionary,
            "weights": weights,
            "bias_weights": bias_weights,
            "d_x": d_x,
            "d_values": d_values,
            "pulled": pulled,
            "m": m,
            "d": d,
            "first": first,
            "stop": stop,
        }
        constants = {"PULL": pull, "BLOCK_D": block_d}
        warps = _warps(block_d)
        launch(_backward, (n, n_chunks), arguments, constants=constants, num_warps=warps)
        if d_dictionary is not None and pulled is not None:
            part = slice(first, stop)
            _add_rows(pulled, columns[part], values[part], d_dictionary)
    return d_x, d_values.sum(0), d_dictionary


def _add_rows(
    pulled: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, sums: torch.Tensor
) -> None:
    """Adds row j of `pulled` to row columns_j of `sums`, in the order of j; not those of value 0."""
    n_latents, d = sums.shape
    keys = torch.where(values == 0, n_latents, columns).to(torch.int32)
    keys, order = keys.sort(stable=True)
    block_d = min(512, _block_d(d))
    arguments = {
        "keys": keys,
        "order": order,
        "pulled": pulled,
        "sums": sums,
        "m": len(keys),
        "n_latents": n_latents,
        "d": d,
    }
    grid = (len(keys), triton.cdiv(d, block_d))
    launch(_add_segments, grid, arguments, constants={"BLOCK_D": block_d})


def _even_starts(indices: torch.Tensor) -> torch.Tensor:
    n, k = indices.shape
    return torch.arange(n + 1, device=indices.device) * k


def _entries_at_once(m: int, d: int, n: int) -> int:
    """Entries whose rows the scratch holds; a multiple of the mean per token, so that few split."""
    per_token = max(1, m // max(1, n))
    return max(1, _SCRATCH_ENTRIES // max(1, d * per_token)) * per_token


def _block_d(d: int) -> int:
    return min(_BLOCK_D, triton.next_power_of_2(d))


def _warps(block_d: int) -> int:
    return max(1, min(8, block_d // 256))


@triton.jit
def _forward(
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
def _curve(x, columns, values, dictionary, bias, squares, n, k, d, BLOCK_D: tl.constexpr):
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
def _backward(
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
            if PULL:
                if (entry >= first) & (entry < stop):
                    place = pulled + (entry - first) * d + inner
                    tl.store(place, -twice * value * suffix, mask=inside)
            error += value * direction
        suffix += tl.load(bias_weights + row).to(tl.float32) * error
        tl.store(d_x + row * d + inner, twice * suffix, mask=inside)


@triton.jit
def _add_segments(keys, order, pulled, sums, m, n_latents, d, BLOCK_D: tl.constexpr):
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
