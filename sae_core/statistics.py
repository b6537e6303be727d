"""What is known of a source's activations before training starts."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SourceStatistics:
    """Statistics of one source's activations x (n, d) on the calibration split, in float64.

    `mean` (d,); `geometric_median` (d,); `mean_norm` E‖x‖; `mean_square_norm` E‖x‖²;
    `total_variance` E‖x − mean‖²; `n` rows they were computed on.
    """

    mean: torch.Tensor
    geometric_median: torch.Tensor
    mean_norm: float
    mean_square_norm: float
    total_variance: float
    n: int

    @property
    def width(self) -> int:
        """d."""
        return self.mean.shape[0]


def input_scale(statistics: SourceStatistics) -> float:
    """s with E‖s x‖² = d."""
    return (statistics.width / statistics.mean_square_norm) ** 0.5


def scaled_variance(statistics: SourceStatistics) -> float:
    """Total variance of the scaled inputs, s²·E‖x − mean‖²."""
    return statistics.total_variance / statistics.mean_square_norm * statistics.width
