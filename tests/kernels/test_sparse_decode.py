from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_kernels import sparse_decode
from sae_kernels.sparse_decode import cpu, reference

SIZES = st.sampled_from([1, 3, 33])


@st.composite
def codes(draw):
    n, k, d, f = draw(SIZES), draw(SIZES), draw(SIZES), draw(SIZES)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    indices = torch.randint(f, (n, k), generator=generator)
    values = torch.randn(n, k, generator=generator, dtype=torch.float64)
    dictionary = torch.randn(f, d, generator=generator, dtype=torch.float64)
    bias = torch.randn(d, generator=generator, dtype=torch.float64)
    if draw(st.booleans()):
        values[:, 0], indices[:, 0] = 0, 0
    if draw(st.booleans()):
        values, indices = values.T.contiguous().T, indices.T.contiguous().T
        dictionary = dictionary.T.contiguous().T
    return indices, values, dictionary, bias


@settings(max_examples=60, deadline=None)
@given(codes())
def test_equals_the_reference_with_every_gradient(code):
    indices, *others = code
    outcomes = []
    for decode in (cpu.sparse_decode, reference.sparse_decode):
        inputs = [t.clone().requires_grad_() for t in others]
        x_hat = decode(indices, *inputs, sort=None)
        gradients = torch.autograd.grad((x_hat.square() + x_hat).sum(), inputs)
        outcomes.append((x_hat, *gradients))
    for ours, judge in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, judge, rtol=1e-12, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(codes())
def test_equals_the_dense_product(code):
    indices, values, dictionary, bias = code
    dense = values.new_zeros(len(values), len(dictionary)).scatter_add(1, indices, values)
    expected = dense @ dictionary + bias
    torch.testing.assert_close(sparse_decode(*code), expected, rtol=1e-12, atol=1e-10)


def test_no_tokens_give_no_reconstructions():
    empty = torch.zeros(0, 3)
    x_hat = sparse_decode(empty.long(), empty, torch.ones(4, 2), torch.zeros(2))
    assert x_hat.shape == (0, 2)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="which dimension is the dictionary's"):
        sparse_decode(torch.zeros(2, 3).long(), torch.zeros(2, 2), torch.ones(4, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="which dimension is the dictionary's"):
        sparse_decode(torch.zeros(2, 3).long(), torch.zeros(2, 3), torch.ones(4, 2), torch.zeros(4))
