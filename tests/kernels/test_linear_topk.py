from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_kernels import linear_product, linear_topk
from sae_kernels.linear_topk import cpu, reference

SIZES = st.sampled_from([1, 3, 33])


@st.composite
def layers(draw, latents=(1, 3, 33, 129, 1024)):
    n, d, f = draw(SIZES), draw(SIZES), draw(st.sampled_from(latents))
    k = draw(st.sampled_from(sorted({1, min(2, f), min(7, f), f})))
    seed = draw(st.integers(0, 2**16))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    weight = torch.randn(f, d, generator=generator, dtype=torch.float64)
    bias = torch.randn(f, generator=generator, dtype=torch.float64)
    if draw(st.booleans()):
        # Small whole numbers: many exact ties, exact sums.
        x, weight, bias = x.round(), weight.round(), bias.round()
    if draw(st.booleans()):
        x[0], weight[-1] = 0, 0
    if draw(st.booleans()):
        x, weight = x.T.contiguous().T, weight.T.contiguous().T
    return x, weight, bias, k


@settings(max_examples=60, deadline=None)
@given(layers())
def test_equals_the_reference_with_every_gradient(layer):
    x, weight, bias, k = layer
    outcomes = []
    for linear in (cpu.linear_topk, reference.linear_topk):
        inputs = [t.clone().requires_grad_() for t in (x, weight, bias)]
        indices, values = linear(*inputs, k, sort=None)
        weights = torch.linspace(-1, 2, values.numel(), dtype=torch.float64).view_as(values)
        gradients = torch.autograd.grad((values * weights).sum(), inputs)
        outcomes.append((indices, values, *gradients))
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    for ours, judge in zip(outcomes[0][1:], outcomes[1][1:], strict=True):
        torch.testing.assert_close(ours, judge, rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([(512, 16), (1024, 16), (256, 7), (128, 33)]))
def test_of_equal_values_the_lower_index_comes_first(seed, sizes):
    f, k = sizes
    z = torch.randint(-3, 4, (33, f), generator=torch.Generator().manual_seed(seed)).float()
    indices, values = linear_topk(torch.eye(33), z.T.contiguous(), torch.zeros(f), k)
    for row, row_indices, row_values in zip(
        z.tolist(), indices.tolist(), values.tolist(), strict=True
    ):
        expected = sorted(range(f), key=lambda i: (-row[i], i))[:k]
        assert row_values == [max(row[i], 0.0) for i in expected]
        assert row_indices == [i if row[i] > 0 else 0 for i in expected]


def test_entries_without_value_are_padding():
    x = torch.tensor([[1.0], [-1.0]])
    weight = torch.tensor([[-1.0], [2.0], [1.0]])
    indices, values = linear_topk(x, weight, torch.zeros(3), 3)
    assert indices.tolist() == [[1, 2, 0], [0, 0, 0]]
    assert values.tolist() == [[2.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_gradient_reaches_only_selected_positive_entries():
    x = torch.tensor([[1.0, 0.0]])
    weight = torch.tensor([[3.0, 0.0], [2.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    bias = torch.zeros(3, requires_grad=True)
    _, values = linear_topk(x, weight, bias, 3)
    values.sum().backward()
    assert bias.grad.tolist() == [1.0, 1.0, 0.0]
    assert weight.grad.tolist() == [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]


def test_nan_is_kept_so_that_it_shows():
    x = torch.tensor([[torch.nan], [1.0]])
    for linear in (linear_topk, reference.linear_topk):
        _, values = linear(x, torch.ones(1024, 1), torch.zeros(1024), 16, sort=None)
        assert values[0].isnan().all()
        assert values[1].tolist() == [1.0] * 16


def test_blocks_of_rows_do_not_change_the_result(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(100, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(64, 5, generator=generator, dtype=torch.float64)
    whole = linear_topk(x, weight, weight[:, 0], 4)
    monkeypatch.setattr(linear_product, "_BLOCK_ENTRIES", 1)
    monkeypatch.setattr(linear_product, "_BLOCK_ROWS", 7)
    parts = linear_topk(x, weight, weight[:, 0], 4)
    assert torch.equal(whole[0], parts[0])
    torch.testing.assert_close(whole[1], parts[1], rtol=1e-14, atol=0)


@pytest.mark.parametrize("shape", [(33, 3, 1024, 7), (1, 130, 4096, 33), (3, 33, 129, 129)])
def test_float32_values_and_gradients_are_those_of_float64_up_to_rounding(shape):
    n, d, f, k = shape
    generator = torch.Generator().manual_seed(0)
    layer = [
        torch.randn(size, generator=generator, dtype=torch.float64)
        for size in ((n, d), (f, d), (f,))
    ]
    outcomes = []
    for linear, dtype in (
        (cpu.linear_topk, torch.float32),
        (reference.linear_topk, torch.float64),
    ):
        inputs = [t.to(dtype).requires_grad_() for t in layer]
        indices, values = linear(*inputs, k, sort=None)
        gradients = torch.autograd.grad(values.square().sum(), inputs)
        outcomes.append((indices, values, *gradients))
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    for ours, judge in zip(outcomes[0][1:], outcomes[1][1:], strict=True):
        scale = judge.abs().max()
        torch.testing.assert_close(ours.double() / scale, judge / scale, rtol=0, atol=1e-5)


def test_repeated_runs_give_the_same_bits():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(512, 32, generator=generator)
    weight = torch.randn(256, 32, generator=generator, requires_grad=True)
    bias = torch.randn(256, generator=generator, requires_grad=True)
    found = []
    for _ in range(3):
        _, values = linear_topk(x, weight, bias, 8)
        found.append((values, *torch.autograd.grad(values.square().sum(), (weight, bias))))
    for again in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], again, strict=True))


@pytest.mark.parametrize("k", [0, 4])
def test_impossible_k_is_refused(k):
    with pytest.raises(ValueError, match=r"k = .* for 3 outputs. Allowed: 1 to 3. Lower k"):
        linear_topk(torch.ones(2, 2), torch.ones(3, 2), torch.zeros(3), k)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="orientation"):
        linear_topk(torch.ones(2, 2), torch.ones(3, 5), torch.zeros(3), 1)
    with pytest.raises(ValueError, match="one per output"):
        linear_topk(torch.ones(2, 2), torch.ones(3, 2), torch.zeros(2), 1)
