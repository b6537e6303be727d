from __future__ import annotations

import importlib.util

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_kernels import AdamSettings, adam_rows
from sae_kernels.dispatch import using
from sae_kernels.stochastic_rounding import place_draws, rounded

LOW = 0xFFFF
FORMS = ["reference", "cpu"]
if importlib.util.find_spec("triton") is not None:
    FORMS.append("fused")


def draws(seed: int, step: float, n: int, start: int = 0) -> torch.Tensor:
    return place_draws(seed, torch.tensor(step), torch.arange(start, start + n))


def test_both_halves_of_the_draws_are_spread_evenly_and_independent():
    n, bins = 2**20, 64
    found = draws(3, 7.0, n)
    low, high = (found & LOW) / 2**16, ((found >> 16) & LOW) / 2**16
    for half in (low, high):
        counts = torch.histc(half, bins, 0, 1)
        chi_square = ((counts - n / bins).square() / (n / bins)).sum()
        assert chi_square < bins + 6 * (2 * bins) ** 0.5
    stacked = torch.stack([low, high, low.roll(1), high.roll(1), low.roll(256)])
    assert (torch.corrcoef(stacked) - torch.eye(5)).abs().max() < 5 / n**0.5


@pytest.mark.parametrize("other", [(4, 7.0, 0), (3, 8.0, 0), (3, 7.0, 2**32)])
def test_another_seed_step_or_place_draws_independently(other):
    seed, step, start = other
    n = 2**18
    ours, theirs = draws(3, 7.0, n) & LOW, draws(seed, step, n, start) & LOW
    both = torch.stack([ours.double(), theirs.double()])
    assert torch.corrcoef(both)[0, 1].abs() < 5 / n**0.5


@settings(max_examples=50, deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, LOW))
def test_a_number_goes_to_a_neighbour_and_what_bfloat16_holds_stays(value, draw):
    exact = torch.tensor([value])
    found = rounded(exact, torch.tensor([draw], dtype=torch.int32)).float()
    held = exact.bfloat16().float()
    if torch.equal(held, exact):
        assert torch.equal(found, exact)
    # Neighbours enclose the number: cutting its lower bits off, and one step further.
    lower = (exact.view(torch.int32) & ~LOW).view(torch.float32)
    upper = ((exact.view(torch.int32) & ~LOW) + 2**16).view(torch.float32)
    assert found in (lower, upper)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_stays(value):
    found = rounded(torch.tensor([value]), torch.tensor([LOW], dtype=torch.int32)).float()
    torch.testing.assert_close(found, torch.tensor([value]), equal_nan=True)


def test_rounding_is_right_on_average():
    n = 2**20
    values = torch.full((n,), 1 + 2**-10)
    found = rounded(values, draws(0, 1.0, n) & LOW).double()
    # The step between neighbours is 2^-7; the mean of n of them is known to 6 deviations.
    assert abs(float(found.mean()) - (1 + 2**-10)) < 6 * 2**-7 * 0.5 / n**0.5


def stepped(form: str, steps: int, *, seed: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    parameter = torch.zeros(40, 25)
    moments = [torch.zeros(40, 25, dtype=torch.bfloat16) for _ in range(2)]
    for step in range(steps):
        # Powers of two, so that all forms compute the same bits before they round.
        gradient = torch.randint(-2, 3, (40, 25), generator=generator).float() * 2.0**-3
        with using(form):
            adam_rows(
                parameter,
                gradient,
                *moments,
                factors=None,
                count=torch.tensor(step + 1.0),
                healthy=torch.tensor(True),
                settings=AdamSettings(lr=2**-6, beta1=0.5, beta2=0.75, eps=1.0, seed=seed),
                unit_rows=False,
            )
    return [*moments, parameter]


def test_all_forms_round_alike():
    found = [stepped(form, 3) for form in FORMS]
    for other in found[1:]:
        for ours, judge in zip(other[:2], found[0][:2], strict=True):
            assert torch.equal(ours, judge)


def test_another_seed_rounds_differently():
    assert not torch.equal(stepped("cpu", 12)[0], stepped("cpu", 12, seed=6)[0])


@pytest.mark.parametrize("form", ["reference", "cpu"])
def test_a_second_moment_reaches_its_limit_where_rounding_to_the_nearest_would_not_move(form):
    start, limit = 1.0, 0.25
    moment = torch.full((64, 64), start, dtype=torch.bfloat16)
    nearest = moment.clone()
    for step in range(2000):
        with using(form):
            adam_rows(
                torch.zeros(64, 64),
                torch.full((64, 64), limit**0.5),
                torch.zeros(64, 64, dtype=torch.bfloat16),
                moment,
                factors=None,
                count=torch.tensor(step + 1.0),
                healthy=torch.tensor(True),
                settings=AdamSettings(lr=0.0, beta1=0.0, beta2=0.999, eps=1e-8),
                unit_rows=False,
            )
        nearest = (0.999 * nearest.float() + 0.001 * limit).bfloat16()
    expected = limit + (start - limit) * 0.999**2000
    assert float(moment.float().mean()) == pytest.approx(expected, rel=0.01)
    assert float(nearest.float().mean()) == start
