from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_kernels import RaggedCode, nested_decode_loss, ragged_nested_decode_loss
from sae_kernels.ragged_nested_decode_loss import cpu, reference


@st.composite
def cases(draw):
    n, d, f = (draw(st.sampled_from([1, 3, 33, 300])) for _ in range(3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    density = draw(st.sampled_from([0.0, 0.05, 0.5]))
    chances = density * 2 * torch.rand(n, 1, generator=generator)
    rows, columns = (torch.rand(n, min(f, 33), generator=generator) < chances).nonzero(
        as_tuple=True
    )
    weights = torch.rand(len(rows), generator=generator).double()
    weights *= torch.rand(len(rows), generator=generator) < draw(st.sampled_from([0.1, 1.0]))
    tensors = [
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((n, d), (len(rows),), (f, d), (d,))
    ]
    return rows, columns, tensors, weights, torch.rand(n, generator=generator).double()


@settings(max_examples=60, deadline=None)
@given(cases())
def test_equals_the_reference_with_every_gradient(case):
    rows, columns, tensors, weights, bias_weights = case
    outcomes = []
    for op in (cpu.ragged_nested_decode_loss, reference.ragged_nested_decode_loss):
        inputs = [t.clone().requires_grad_() for t in tensors]
        x, values, dictionary, bias = inputs
        code = RaggedCode(rows, columns, values, len(x))
        loss = op(x, code, dictionary, bias, weights, bias_weights)
        shares = torch.linspace(-1, 2, len(x)).double()
        outcomes.append((loss, *torch.autograd.grad((shares * loss).sum(), inputs)))
    for ours, judge in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, judge, rtol=1e-11, atol=1e-10)


def test_equal_numbers_of_latents_are_the_padded_form_bit_for_bit():
    generator = torch.Generator().manual_seed(0)
    x, values = torch.randn(40, 12, generator=generator), torch.randn(40, 5, generator=generator)
    dictionary, bias = torch.randn(9, 12, generator=generator), torch.randn(12, generator=generator)
    indices = torch.randint(9, (40, 5), generator=generator)
    weights = torch.rand(40, 6, generator=generator)
    rows = torch.arange(40).repeat_interleave(5)
    code = RaggedCode(rows, indices.reshape(-1), values.reshape(-1), 40)
    ours = ragged_nested_decode_loss(
        x, code, dictionary, bias, weights[:, 1:].reshape(-1), weights[:, 0]
    )
    assert torch.equal(ours, nested_decode_loss(x, indices, values, dictionary, bias, weights))


def test_shapes_that_do_not_fit_are_refused():
    none = torch.zeros(0)
    code = RaggedCode(none.long(), none.long(), none, 2)
    x, dictionary, bias = torch.ones(2, 3), torch.ones(4, 3), torch.ones(3)
    with pytest.raises(ValueError, match="which dimension is the dictionary's"):
        ragged_nested_decode_loss(x, code, dictionary, torch.ones(4), none, torch.ones(2))
    with pytest.raises(ValueError, match="one bias weight a token"):
        ragged_nested_decode_loss(x, code, dictionary, bias, none, torch.ones(3))
