"""Adam by rows: unit rows stay unit vectors, and a row's gradient can be scaled."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sae_kernels.dispatch import implementation


@dataclass(frozen=True)
class AdamSettings:
    """Adam's numbers for one step: learning rate, decays of the moments, floor under the scale.

    `seed` in [0, 2^31) decides, with step and place, how moments kept in bfloat16 are rounded.
    """

    lr: float
    beta1: float
    beta2: float
    eps: float
    seed: int = 0


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
    """One Adam step in place on the rows of `parameter`, where `healthy`; elsewhere no bit changes.

    With p a row, g its gradient, c the row's factor and t the steps taken, this one included:
    g ← c · (g − (g·p) p) where rows are unit, else c · g; m ← β₁ m + (1 − β₁) g;
    v ← β₂ v + (1 − β₂) g²; p ← p − lr · (m / (1 − β₁ᵗ)) / (sqrt(v / (1 − β₂ᵗ)) + eps); where rows
    are unit p ← p / ‖p‖ (a row of norm 0 stays).
    `parameter`, `gradient`, `mean`, `mean_square` (r, w), the gradient is only read; `factors`
    (r,) or 0-d, none means 1; `count` t and `healthy` (bool), 0-d. Moments in bfloat16 are rounded
    by chance (stochastic_rounding.py); the step uses them before. Deterministic; waits for no
    device. Raises ValueError when the shapes do not fit or what is changed is not contiguous.
    Reference: Kingma and Ba, "Adam" (2015); Bricken et al., "Towards monosemanticity" (2023), for
    the removed part.
    """
    _check(parameter, gradient, mean, mean_square, factors)
    if not all(tensor.is_contiguous() for tensor in (parameter, mean, mean_square)):
        raise ValueError(
            "adam_rows got a parameter or moments whose rows are not laid out one after another. "
            "Allowed: contiguous tensors, since they are changed in place. Call .contiguous() when "
            "they are made."
        )
    form = implementation("adam_rows", parameter)
    form.adam_rows(
        parameter,
        gradient,
        mean,
        mean_square,
        factors=factors,
        count=count,
        healthy=healthy,
        settings=settings,
        unit_rows=unit_rows,
    )


def gradient_norms(
    parameter: torch.Tensor, gradient: torch.Tensor, *, unit_rows: bool
) -> torch.Tensor:
    """Norms (r,) of the gradient's rows that `adam_rows` steps with before their factors.

    ‖g − (g·p) p‖ where rows are unit, else ‖g‖. `parameter` and `gradient` (r, w).
    Raises ValueError when the shapes do not fit.
    """
    _check(parameter, gradient)
    form = implementation("adam_rows", parameter)
    return form.gradient_norms(parameter, gradient, unit_rows=unit_rows)


def _check(parameter: torch.Tensor, *others: torch.Tensor | None) -> None:
    *same, factors = others if len(others) > 1 else (*others, None)
    fit = parameter.ndim == 2 and all(other.shape == parameter.shape for other in same)
    fit = fit and (factors is None or factors.shape in ((), parameter.shape[:1]))
    if not fit:
        given = [None if t is None else tuple(t.shape) for t in (parameter, *others)]
        raise ValueError(
            f"adam_rows got parameter, gradient, moments and factors {given}. Allowed: (r, w) for "
            "all but the factors, which are (r,), 0-d or none. View a vector as (r, 1) or (1, w)."
        )
