from __future__ import annotations

import numpy as np
import pytest

from sae_core.pretraining_curve import PretrainingCurve

CURVE = PretrainingCurve(flops=(1e12, 1e13, 1e14, 1e15), losses=(6.0, 5.0, 4.0, 3.0))


def test_the_last_point_is_the_whole_compute() -> None:
    assert CURVE.share_at(0.0) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize(("increase", "share"), [(1, 0.1), (2, 0.01), (0.5, 10**-0.5), (3, 1e-3)])
def test_log_flops_are_linear_in_the_loss(increase: float, share: float) -> None:
    assert CURVE.share_at(increase) == pytest.approx(share, rel=1e-12)


def test_nothing_is_extrapolated() -> None:
    assert CURVE.share_at(np.array([3.001, -0.001])).tolist() == [-np.inf, np.inf]


def test_points_below_a_later_point_are_left_out() -> None:
    noisy = PretrainingCurve(flops=(1e12, 1e13, 5e13, 1e14, 1e15), losses=(6, 5, 2.9, 4, 3))
    increases = np.linspace(0, 3, 31)
    assert np.allclose(noisy.share_at(increases), CURVE.share_at(increases), rtol=1e-12)


@pytest.mark.parametrize(
    ("flops", "losses", "says"),
    [
        ((1.0,), (2.0,), "at least 2"),
        ((1.0, 2.0), (2.0,), "as many of both"),
        ((2.0, 1.0), (2.0, 1.0), "ascending"),
        ((0.0, 1.0), (2.0, 1.0), "positive"),
        ((1.0, 2.0), (2.0, float("nan")), "finite"),
        ((1.0, 2.0), (2.0, 3.0), "must fall"),
    ],
)
def test_unusable_curves_are_refused(flops: tuple, losses: tuple, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PretrainingCurve(flops=flops, losses=losses)
