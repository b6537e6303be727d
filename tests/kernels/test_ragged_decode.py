from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_kernels import RaggedCode, ragged_decode
from sae_kernels.ragged_decode import cpu, reference


@st.composite
def codes(draw):
    n, d, f = (draw(st.sampled_from([1, 3, 33])) for _ in range(3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    density = draw(st.sampled_from([0.0, 0.2, 1.0]))
    rows, columns = (torch.rand(n, f, generator=generator) < density).nonzero(as_tuple=True)
    values = torch.rand(rows.numel(), generator=generator, dtype=torch.float64)
    dictionary = torch.randn(f, d, generator=generator, dtype=torch.float64)
    bias = torch.randn(d, generator=generator, dtype=torch.float64)
    return rows, columns, n, values, dictionary, bias


@settings(max_examples=60, deadline=None)
@given(codes())
def test_equals_the_reference_with_every_gradient(code):
    rows, columns, n, *others = code
    outcomes = []
    for decode in (cpu.ragged_decode, reference.ragged_decode):
        values, dictionary, bias = (t.clone().requires_grad_() for t in others)
        x_hat = decode(RaggedCode(rows, columns, values, n), dictionary, bias, sort=None)
        loss = (x_hat.square() + x_hat).sum()
        outcomes.append((x_hat, *torch.autograd.grad(loss, (values, dictionary, bias))))
    for ours, judge in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, judge, rtol=1e-12, atol=1e-10)


def test_shapes_that_do_not_fit_are_refused():
    none = torch.zeros(0)
    code = RaggedCode(none.long(), none.long(), none, 2)
    with pytest.raises(ValueError, match="which dimension is the dictionary's"):
        ragged_decode(code, torch.ones(4, 2), torch.zeros(4))
