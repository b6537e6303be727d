from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_kernels import AdamSettings, adam_rows, gradient_norms
from sae_kernels.adam_rows import cpu, reference

SETTINGS = AdamSettings(lr=0.05, beta1=0.8, beta2=0.95, eps=1e-6)
HEALTHY = torch.tensor(True)


@st.composite
def rows(draw):
    n_rows, width = draw(st.sampled_from([1, 3, 33])), draw(st.sampled_from([1, 3, 33, 130]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    parameter, gradient, mean = (
        torch.randn(n_rows, width, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    if draw(st.booleans()):
        parameter[0], gradient[-1] = 0, 0
    if draw(st.booleans()):
        gradient = gradient.T.contiguous().T
    factors = draw(st.sampled_from(["none", "one", "rows"]))
    scale = {"none": None, "one": torch.tensor(0.3, dtype=torch.float64)}.get(
        factors, torch.rand(n_rows, generator=generator, dtype=torch.float64)
    )
    return parameter, gradient, mean, mean.square(), scale, draw(st.booleans())


@settings(max_examples=60, deadline=None)
@given(rows(), st.sampled_from([1, 8, 2**17]))
def test_equals_the_reference_over_several_steps(given_rows, block):
    parameter, gradient, mean, square, factors, unit_rows = given_rows
    before, cpu._BLOCK_ENTRIES = cpu._BLOCK_ENTRIES, block
    outcomes = []
    for form in (cpu, reference):
        tensors = [t.clone() for t in (parameter, gradient, mean, square)]
        norms = form.gradient_norms(tensors[0], tensors[1], unit_rows=unit_rows)
        for step in range(3):
            form.adam_rows(
                *tensors,
                factors=factors,
                count=torch.tensor(step + 1.0),
                healthy=HEALTHY,
                settings=SETTINGS,
                unit_rows=unit_rows,
            )
        outcomes.append((norms, *tensors))
    cpu._BLOCK_ENTRIES = before
    for ours, judge in zip(*outcomes, strict=True):
        # Corrections by 1 - beta^t are float32 in one form: the count is a float32 tensor.
        torch.testing.assert_close(ours, judge, rtol=1e-5, atol=1e-6)
    assert torch.equal(outcomes[0][2], gradient)


@pytest.mark.parametrize("form", [cpu, reference])
@pytest.mark.parametrize("poison", [1.0, torch.nan, torch.inf])
def test_an_unhealthy_step_leaves_every_bit(form, poison):
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.rand(33, 5, generator=generator) for _ in range(4)]
    tensors[1].fill_(poison)
    before = [tensor.clone() for tensor in tensors]
    form.adam_rows(
        *tensors,
        factors=torch.full((33,), poison),
        count=torch.ones(()),
        healthy=~HEALTHY,
        settings=SETTINGS,
        unit_rows=True,
    )
    kept = [tensor.nan_to_num() for tensor in tensors]
    assert all(torch.equal(a, b.nan_to_num()) for a, b in zip(kept, before, strict=True))


def test_unit_rows_stay_unit_and_a_row_of_zeros_stays():
    generator = torch.Generator().manual_seed(0)
    parameter = torch.nn.functional.normalize(torch.randn(33, 8, generator=generator))
    parameter[7] = 0
    gradient = torch.randn(33, 8, generator=generator)
    gradient[7] = 0
    moments = torch.zeros(2, 33, 8)
    adam_rows(
        parameter,
        gradient,
        *moments,
        factors=None,
        count=torch.ones(()),
        healthy=HEALTHY,
        settings=SETTINGS,
        unit_rows=True,
    )
    expected = torch.ones(33)
    expected[7] = 0
    torch.testing.assert_close(parameter.norm(dim=1), expected)


def test_a_gradient_along_its_unit_row_has_norm_zero():
    row = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    assert gradient_norms(row, 3 * row, unit_rows=True) < 1e-14
    assert float(gradient_norms(row, 3 * row, unit_rows=False)) == pytest.approx(3)


def test_shapes_that_do_not_fit_are_refused():
    ones = torch.ones(3, 2)
    with pytest.raises(ValueError, match="View a vector"):
        gradient_norms(ones, torch.ones(3), unit_rows=False)
    with pytest.raises(ValueError, match=r"factors .* Allowed: \(r, w\)"):
        adam_rows(
            ones,
            ones,
            ones,
            ones,
            factors=torch.ones(2),
            count=torch.ones(()),
            healthy=HEALTHY,
            settings=SETTINGS,
            unit_rows=False,
        )
