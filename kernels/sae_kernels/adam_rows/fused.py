"""Adam by rows on the GPU: everything is read once and written once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from sae_kernels.launch import launch

if TYPE_CHECKING:
    from sae_kernels.adam_rows import AdamSettings

_TILE, _WIDEST = 1024, 16384


@torch.no_grad()
def adam_rows(
    parameter: torch.Tensor,
    gradient: torch.Tensor,
    mean: torch.Tensor,
    mean_square: torch.Tensor,
    *,
    factors: torch.Tensor | None,
    count: torch.Tensor,
    healthy: torch.Tensor,
    settings: AdamSettings,
    unit_rows: bool,
) -> None:
    """One Adam step in place where `healthy`."""
    n_rows, width = parameter.shape
    arguments = {
        "parameter": parameter,
        "gradient": gradient.contiguous(),
        "mean": mean,
        "mean_square": mean_square,
        "factors": factors,
        "factors_row": factors.stride(0) if factors is not None and factors.ndim else 0,
        "count": count,
        "healthy": healthy,
        "n_rows": n_rows,
        "width": width,
        "lr": float(settings.lr),
        "beta1": float(settings.beta1),
        "beta2": float(settings.beta2),
        "one_minus_beta1": 1.0 - settings.beta1,
        "one_minus_beta2": 1.0 - settings.beta2,
        "log_beta1": math.log(settings.beta1) if settings.beta1 > 0 else -math.inf,
        "log_beta2": math.log(settings.beta2) if settings.beta2 > 0 else -math.inf,
        "eps": float(settings.eps),
        "seed": settings.seed,
    }
    grid, constants, warps = _tiles(n_rows, width, whole_rows=unit_rows)
    constants |= {"SCALED": factors is not None, "UNIT": unit_rows}
    constants["BY_CHANCE"] = mean.dtype is torch.bfloat16
    launch(_step, grid, arguments, constants=constants, num_warps=warps)


@torch.no_grad()
def gradient_norms(
    parameter: torch.Tensor, gradient: torch.Tensor, *, unit_rows: bool
) -> torch.Tensor:
    """Norms (r,) of the rows, where rows are unit without their part along the parameter's."""
    n_rows, width = gradient.shape
    if not unit_rows and width > _WIDEST:
        # A parameter that is one long row: one program would read it alone.
        return torch.linalg.vector_norm(gradient, dim=1)
    norms = torch.empty(n_rows, dtype=gradient.dtype, device=gradient.device)
    arguments = {
        "parameter": parameter.contiguous(),
        "gradient": gradient.contiguous(),
        "norms": norms,
        "n_rows": n_rows,
        "width": width,
    }
    grid, constants, warps = _tiles(n_rows, width, whole_rows=True)
    launch(_norms, grid, arguments, constants=constants | {"UNIT": unit_rows}, num_warps=warps)
    return norms


def _tiles(
    n_rows: int, width: int, *, whole_rows: bool
) -> tuple[tuple[int, int], dict[str, object], int]:
    """Grid, tile and warps; a tile holds whole rows where their norms are needed."""
    if whole_rows and width > _WIDEST:
        raise ValueError(
            f"adam_rows got unit rows of width {width} on a GPU. Allowed: up to {_WIDEST}, so "
            'that a row stays on the chip. Run the plain form: `with using("reference")`.'
        )
    across = triton.next_power_of_2(max(width, 1))
    across = across if whole_rows else min(across, _TILE)
    down = max(1, min(_TILE // across, triton.next_power_of_2(max(n_rows, 1))))
    grid = (triton.cdiv(n_rows, down), triton.cdiv(width, across))
    warps = max(1, min(16, across * down // 256))
    return grid, {"BLOCK_R": down, "BLOCK_W": across}, warps


@triton.jit
def _mixed(bits):
    """lowbias32, as in stochastic_rounding.py."""
    bits = (bits ^ (bits >> 16)) * 0x7FEB352D
    bits = (bits ^ (bits >> 15)) * 0x846CA68B
    return bits ^ (bits >> 16)


@triton.jit
def _place_draws(seed, step, places):
    """As in stochastic_rounding.py: 32 bits for every place."""
    key = _mixed(_mixed(seed.to(tl.uint32)) ^ step.to(tl.int32).to(tl.uint32))
    low, high = places.to(tl.uint32), (places >> 32).to(tl.uint32)
    return _mixed(_mixed(low ^ key) ^ (high + key))


@triton.jit
def _rounded(values, draws):
    """As in stochastic_rounding.py: a float32 number that bfloat16 holds."""
    bits = values.to(tl.uint32, bitcast=True) + draws
    up_or_down = (bits & 0xFFFF0000).to(tl.float32, bitcast=True)
    return tl.where(tl.abs(values) < float("inf"), up_or_down, values)


@triton.jit
def _by_chance(m, v, draws):
    return _rounded(m, draws & 0xFFFF), _rounded(v, draws >> 16)


@triton.jit
def _change(m, v, count, lr, log_beta1, log_beta2, eps):
    # In float32 the difference 1 − β^t would lose half its digits in the first steps.
    steps = tl.load(count).to(tl.float64)
    correction1 = (1.0 - tl.exp(steps * log_beta1)).to(tl.float32)
    correction2 = (1.0 - tl.exp(steps * log_beta2)).to(tl.float32)
    return lr * (m / correction1) / (tl.sqrt(v / correction2) + eps)


# One machine code whatever the seed, and for one row as for many: made for a single row alone it
# spills 8 bytes (triton 3.7.1, sm_80).
@triton.jit(do_not_specialize=["seed", "n_rows"])
def _step(
    parameter,
    gradient,
    mean,
    mean_square,
    factors,
    factors_row,
    count,
    healthy,
    n_rows,
    width,
    lr,
    beta1,
    beta2,
    one_minus_beta1,
    one_minus_beta2,
    log_beta1,
    log_beta2,
    eps,
    seed,
    BLOCK_R: tl.constexpr,
    BLOCK_W: tl.constexpr,
    SCALED: tl.constexpr,
    UNIT: tl.constexpr,
    BY_CHANCE: tl.constexpr,
):
    if tl.load(healthy):
        rows = (tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R))[:, None]
        columns = (tl.program_id(1) * BLOCK_W + tl.arange(0, BLOCK_W))[None, :]
        inside, at = (rows < n_rows) & (columns < width), rows * width + columns
        p = tl.load(parameter + at, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
        if UNIT:
            g -= tl.sum(g * p, axis=1)[:, None] * p
        if SCALED:
            g *= tl.load(factors + rows * factors_row, mask=rows < n_rows, other=0.0).to(tl.float32)
        m = beta1 * tl.load(mean + at, mask=inside, other=0.0).to(tl.float32) + one_minus_beta1 * g
        v = (
            beta2 * tl.load(mean_square + at, mask=inside, other=0.0).to(tl.float32)
            + one_minus_beta2 * g * g
        )
        p -= _change(m, v, count, lr, log_beta1, log_beta2, eps)
        if UNIT:
            norm = tl.sqrt(tl.sum(tl.where(inside, p * p, 0.0), axis=1))[:, None]
            p /= tl.where(norm > 0, norm, 1.0)
        tl.store(parameter + at, p.to(parameter.dtype.element_ty), mask=inside)
        if BY_CHANCE:
            m, v = _by_chance(m, v, _place_draws(seed, tl.load(count), at))
        tl.store(mean + at, m.to(mean.dtype.element_ty), mask=inside)
        tl.store(mean_square + at, v.to(mean_square.dtype.element_ty), mask=inside)


@triton.jit
def _norms(
    parameter,
    gradient,
    norms,
    n_rows,
    width,
    BLOCK_R: tl.constexpr,
    BLOCK_W: tl.constexpr,
    UNIT: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    rows = row[:, None]
    columns = tl.arange(0, BLOCK_W)[None, :]
    inside = (rows < n_rows) & (columns < width)
    at = rows * width + columns
    g = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    if UNIT:
        p = tl.load(parameter + at, mask=inside, other=0.0).to(tl.float32)
        g -= tl.sum(g * p, axis=1)[:, None] * p
    norm = tl.sqrt(tl.sum(g * g, axis=1))
    tl.store(norms + row, norm.to(norms.dtype.element_ty), mask=row < n_rows)
