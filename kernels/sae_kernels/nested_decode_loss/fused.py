"""Nested decoding on the GPU: one walk along a token's latents forward, one back, O(k d) each.

Errors and suffix sums stay in registers. The dictionary's gradient needs a suffix sum for every
active latent: they go through a scratch of bounded size, block of entries by block, and each block
is added to the rows it names in the order of its entries: no atomics, the same bits every time.
"""

from __future__ import annotations

import torch
import triton
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.launch import launch
from sae_kernels.nested_decode_loss import walk_fused as walk

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
    launch(walk.curve, (n, n_chunks), arguments, constants=constants, num_warps=_warps(block_d))
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
    launch(walk.forward, (n, n_chunks), arguments, constants=constants, num_warps=_warps(block_d))
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
    # Padding behind the last token's entries is in no walk.
    d_values = torch.zeros(n_chunks, m, dtype=torch.float32, device=last.device)
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
        launch(walk.backward, (n, n_chunks), arguments, constants=constants, num_warps=warps)
        if d_dictionary is not None and pulled is not None:
            part = slice(first, stop)
            _add_rows(pulled, columns[part], values[part], d_dictionary)
    return d_x, d_values.sum(0), d_dictionary


def _add_rows(
    pulled: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, sums: torch.Tensor
) -> None:
    """Adds row j of `pulled` to row columns_j of `sums`, in the order of j; not where value 0."""
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
    launch(walk.add_segments, grid, arguments, constants={"BLOCK_D": block_d})


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
