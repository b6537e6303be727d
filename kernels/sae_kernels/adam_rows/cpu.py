"""Adam by rows on the CPU: a block of rows goes through all of it while it is in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sae_kernels.stochastic_rounding import place_draws, stored

if TYPE_CHECKING:
    from sae_kernels.adam_rows import AdamSettings

# Five tensors of this many entries are in use at a time: 2.5 MB in float32, near the second-level
# cache, and few enough blocks that calling the operations costs nothing beside their work.
_BLOCK_ENTRIES = 2**17


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
    bad = (~healthy).to(torch.float32)
    half = mean.dtype is torch.bfloat16
    for block in _blocks(parameter):
        rows, used = parameter[block], gradient[block]
        if unit_rows:
            used = _across(rows, used)
        if factors is not None:
            factor = factors[block].unsqueeze(1) if factors.ndim else factors
            used = used.mul_(factor) if unit_rows else used * factor
        first, second = mean[block], mean_square[block]
        if half:
            first, second = first.float(), second.float()
        torch._fused_adam_(
            [rows],
            [used.contiguous()],
            [first],
            [second],
            [],
            [count],
            lr=settings.lr,
            beta1=settings.beta1,
            beta2=settings.beta2,
            weight_decay=0.0,
            eps=settings.eps,
            amsgrad=False,
            maximize=False,
            found_inf=bad,
        )
        if half:
            draws = place_draws(settings.seed, count, _places(rows, block.start))
            stored(mean[block], first, draws, second=False)
            stored(mean_square[block], second, draws, second=True)
        if unit_rows:
            norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            rows.div_(torch.where(healthy & (norms > 0), norms, 1.0))


@torch.no_grad()
def gradient_norms(
    parameter: torch.Tensor, gradient: torch.Tensor, *, unit_rows: bool
) -> torch.Tensor:
    """Norms (r,) of the rows, where rows are unit without their part along the parameter's."""
    if not unit_rows:
        return torch.linalg.vector_norm(gradient, dim=1)
    norms = gradient.new_empty(len(gradient))
    for block in _blocks(parameter):
        across = _across(parameter[block], gradient[block])
        torch.linalg.vector_norm(across, dim=1, out=norms[block])
    return norms


def _places(rows: torch.Tensor, first: int) -> torch.Tensor:
    """Where the entries of these rows, from row `first` on, are in the whole parameter."""
    start = first * rows.shape[1]
    return torch.arange(start, start + rows.numel()).view(rows.shape)


def _across(rows: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    along = (rows * gradient).sum(1, keepdim=True)
    return torch.addcmul(gradient, rows, along, value=-1)


def _blocks(parameter: torch.Tensor) -> list[slice]:
    n_rows, width = parameter.shape
    size = max(1, _BLOCK_ENTRIES // max(1, width))
    return [slice(start, start + size) for start in range(0, n_rows, size)]
