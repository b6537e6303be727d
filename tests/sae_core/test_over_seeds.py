"""Intervals over seeds hold what they promise where the truth is drawn."""

from __future__ import annotations

import pytest
import torch

from sae_core.over_seeds import STUDENT_95, mean_over_others


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_nineteen_of_twenty_intervals_hold_the_mean(n: int) -> None:
    draws = torch.randn(2000, n, generator=torch.Generator().manual_seed(n)).double() + 0.5
    found = [mean_over_others(row.tolist(), "the draws") for row in draws]
    held = sum(one.ci_low <= 0.5 <= one.ci_high for one in found) / len(found)
    assert 0.935 < held < 0.965


def test_more_others_than_the_table_has_are_never_given_a_narrower_interval() -> None:
    values = [0.0, 1.0] * 10
    found = mean_over_others(values, "the draws")
    half = STUDENT_95[-1] * (0.25 * 20 / 19 / 20) ** 0.5
    assert (found.value, found.n) == (0.5, 20)
    assert found.ci_high == pytest.approx(0.5 + half)
