"""A source's statistics, from rows in memory, in float64."""

from __future__ import annotations

import torch

from sae_core.statistics import SourceStatistics

_BLOCK = 4096
_MEDIAN_ROWS = 8192
_ROUNDS = 200
_TOLERANCE = 1e-6
_TOUCHING = 1e-7


def source_statistics(x: torch.Tensor) -> SourceStatistics:
    """The statistics of rows x (n, d), all finite, in random order.

    The geometric median rests on the first 8,192 rows; all else on all rows.
    """
    n = len(x)
    total = torch.zeros(x.shape[1], dtype=torch.float64)
    square_norms = []
    for block in x.split(_BLOCK):
        wide = block.double()
        total += wide.sum(0)
        square_norms.append(torch.linalg.vecdot(wide, wide))
    mean, squares = total / n, torch.cat(square_norms)
    return SourceStatistics(
        mean=mean,
        geometric_median=geometric_median(x[:_MEDIAN_ROWS]),
        mean_norm=float(squares.sqrt().mean()),
        mean_square_norm=float(squares.mean()),
        total_variance=max(0.0, float(squares.mean() - mean @ mean)),
        n=n,
    )


def geometric_median(x: torch.Tensor) -> torch.Tensor:
    """The point y (d,) float64 that minimises Σ_i ‖x_i − y‖ over rows x (n, d).

    Weiszfeld's iteration with the guard for an iterate that lies on a data point: such points
    pull with weight η = (their number) / ‖Σ_others (x_i − y)/‖x_i − y‖‖ instead of infinity.
    Reference: Vardi and Zhang (2000), "The multivariate L1-median and associated data depth".
    """
    middle = x.double().mean(0)
    points = x.double() - middle
    square_norms = torch.linalg.vecdot(points, points)
    scale = float(square_norms.sqrt().mean())
    center = torch.zeros_like(middle)
    for _ in range(_ROUNDS if scale > 0 else 0):
        squares = square_norms - 2 * (points @ center) + center @ center
        moved = _weiszfeld_step(points, center, squares.clamp(min=0).sqrt(), scale=scale)
        step = float((moved - center).norm())
        center = moved
        if step <= _TOLERANCE * scale:
            break
    return middle + center


def _weiszfeld_step(
    points: torch.Tensor, center: torch.Tensor, distances: torch.Tensor, *, scale: float
) -> torch.Tensor:
    apart = distances > _TOUCHING * scale
    weights = torch.where(apart, 1 / distances.clamp(min=_TOUCHING * scale), 0.0)
    pulled = weights @ points
    target = pulled / weights.sum()
    touched = int((~apart).sum())
    if not touched:
        return target
    pull = float((pulled - weights.sum() * center).norm())
    share = min(1.0, touched / pull) if pull > 0 else 1.0
    return (1 - share) * target + share * center
