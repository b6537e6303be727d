from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sae_core.lp_penalty import lp_penalty

FLOOR = 0.01


@given(st.floats(0.05, 2), st.floats(0, 10))
def test_it_is_the_power_from_the_floor_on_and_its_chord_below(p, value):
    a = torch.tensor([[value, 0.0]], dtype=torch.float64)
    expected = value**p if value >= FLOOR else value * FLOOR ** (p - 1)
    assert float(lp_penalty(a, p, floor=FLOOR)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("value", [0.0, 1e-38, 1e-5, 0.0099])
def test_below_the_floor_its_gradient_is_bounded(p, value):
    a = torch.tensor([[value]], requires_grad=True)
    (gradient,) = torch.autograd.grad(lp_penalty(a, p, floor=FLOOR), a)
    assert float(gradient) == pytest.approx(FLOOR ** (p - 1))


def test_with_exponent_one_it_is_the_mean_sum_bit_for_bit():
    a = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(lp_penalty(a, 1.0, floor=FLOOR), a.sum() / 5)


def test_no_activation_costs_nothing_whatever_the_exponent():
    assert lp_penalty(torch.zeros(3, 4), 0.2, floor=FLOOR) == 0
    assert lp_penalty(torch.zeros(3, 4), 0.0, floor=FLOOR) == 0
