"""The point with the smallest mean distance to all rows."""

from __future__ import annotations

import torch


def geometric_median(
    x: torch.Tensor, *, iterations: int = 100, tolerance: float = 1e-5
) -> torch.Tensor:
    """argmin_y Σ_n ‖x_n − y‖ of rows x (n, d), float64 (d,), by Weiszfeld's iteration.

    y ← Σ w x / Σ w with w = 1 / ‖x − y‖, from the mean; stops when y moves by less than
    `tolerance` times the mean distance. A row that y coincides with gets weight 0.
    Reference: Weiszfeld (1937).
    """
    rows = x.double()
    centre = rows.mean(0)
    for _ in range(iterations):
        distances = torch.linalg.vector_norm(rows - centre, dim=1)
        weights = torch.where(distances > 0, 1 / distances, 0.0)
        if not weights.sum() > 0:
            break
        moved = weights @ rows / weights.sum()
        shift = torch.linalg.vector_norm(moved - centre)
        centre = moved
        if shift <= tolerance * distances.mean():
            break
    return centre
