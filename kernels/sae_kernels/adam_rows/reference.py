"""Adam by rows in plain torch: the judge. Reads and writes everything several times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sae_kernels.stochastic_rounding import place_draws, stored

if TYPE_CHECKING:
    from sae_kernels.adam_rows import AdamSettings


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
    gradient = _across(parameter, gradient) if unit_rows else gradient
    if factors is not None:
        gradient = gradient * (factors.unsqueeze(-1) if factors.ndim else factors)
    new_mean = settings.beta1 * mean.to(parameter.dtype) + (1 - settings.beta1) * gradient
    new_square = (
        settings.beta2 * mean_square.to(parameter.dtype) + (1 - settings.beta2) * gradient.square()
    )
    # β to the power of the count, on the device: the count is not read here.
    unbiased = new_mean / (1 - settings.beta1**count)
    scale = (new_square / (1 - settings.beta2**count)).sqrt() + settings.eps
    new = parameter - settings.lr * unbiased / scale
    if unit_rows:
        norms = torch.linalg.vector_norm(new, dim=1, keepdim=True)
        new = new / torch.where(norms > 0, norms, 1.0)
    parameter.copy_(torch.where(healthy, new, parameter))
    places = torch.arange(parameter.numel(), device=parameter.device).view(parameter.shape)
    half = mean.dtype is torch.bfloat16
    draws = place_draws(settings.seed, count, places) if half else None
    # What bfloat16 holds already is rounded to itself.
    stored(mean, torch.where(healthy, new_mean, mean), draws, second=False)
    stored(mean_square, torch.where(healthy, new_square, mean_square), draws, second=True)


@torch.no_grad()
def gradient_norms(
    parameter: torch.Tensor, gradient: torch.Tensor, *, unit_rows: bool
) -> torch.Tensor:
    """Norms (r,) of the rows, where rows are unit without their part along the parameter's."""
    gradient = _across(parameter, gradient) if unit_rows else gradient
    return torch.linalg.vector_norm(gradient, dim=1)


def _across(parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    along = torch.linalg.vecdot(gradient, parameter)
    return gradient - along.unsqueeze(1) * parameter
