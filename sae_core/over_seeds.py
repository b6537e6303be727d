"""Means over an SAE's matches with others, such as other seeds, with Student's interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sae_core.metrics.definition import Measured

# Student's t of a two-sided 95 % interval with 1, 2, ... degrees of freedom; the last one stands
# for more, which makes an interval a little too wide and never too narrow.
STUDENT_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201)


def mean_over_others(values: Sequence[float], others: str) -> Measured:
    """The mean v̄ of an SAE's values with n others, such as other seeds, and n.

    Interval: v̄ ± t_(n−1) s / √n, s² = Σ (v_i − v̄)² / (n − 1): the error from having drawn these
    others, given this SAE. One value has none; the reason names `others`.
    Reference: Student, The probable error of a mean, Biometrika 6 (1908).
    """
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Measured(mean, n=n, reason=f"no interval: one of {others}, and it takes two")
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = STUDENT_95[min(n - 1, len(STUDENT_95)) - 1] * math.sqrt(variance / n)
    return Measured(mean, mean - half, mean + half, n=n)
