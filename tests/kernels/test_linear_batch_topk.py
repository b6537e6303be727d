from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_kernels import linear_batch_topk, ragged_decode, ragged_nested_decode_loss
from sae_kernels.dispatch import using
from sae_kernels.linear_batch_topk import cpu, reference

from sae_core.prefixes import prefix_weights
from tests.kernels.every_kernel import HAS_TRITON

SIZES = st.sampled_from([1, 3, 33])


@st.composite
def layers(draw):
    n, d, f = draw(SIZES), draw(SIZES), draw(st.sampled_from([1, 3, 33, 300]))
    count = draw(st.sampled_from([1, n, 3 * n, n * f, n * f + 5]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    weight = torch.randn(f, d, generator=generator, dtype=torch.float64)
    bias = torch.randn(f, generator=generator, dtype=torch.float64)
    if draw(st.booleans()):
        x, weight, bias = x.round(), weight.round(), bias.round()
    if draw(st.booleans()):
        x, weight = x.T.contiguous().T, weight.T.contiguous().T
    return x, weight, bias, count


@settings(max_examples=60, deadline=None)
@given(layers())
def test_equals_the_reference_with_every_gradient(layer):
    x, weight, bias, count = layer
    outcomes = []
    for linear in (cpu.linear_batch_topk, reference.linear_batch_topk):
        inputs = [t.clone().requires_grad_() for t in (x, weight, bias)]
        code = linear(*inputs, count, sort=None)
        weights = torch.linspace(-1, 2, code.values.numel(), dtype=torch.float64)
        gradients = torch.autograd.grad((code.values * weights).sum(), inputs)
        outcomes.append((code, gradients))
    (ours, our_gradients), (judge, gradients) = outcomes
    assert torch.equal(ours.rows, judge.rows)
    assert torch.equal(ours.columns, judge.columns)
    torch.testing.assert_close(ours.values, judge.values, rtol=1e-12, atol=1e-12)
    for a, b in zip(our_gradients, gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 200_000), st.booleans())
def test_the_sample_never_decides_what_is_kept(seed, count, misleading):
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randn(300_000, generator=generator)
    stride = (flat.numel() // cpu._SAMPLE_ENTRIES) | 1
    if misleading:
        flat[::stride] += 10
    kept = cpu.largest_positive(flat, count)
    expected = flat.sort(descending=True, stable=True).indices[:count]
    expected = expected[flat[expected] > 0].sort().values
    assert torch.equal(kept, expected)


def test_of_equal_values_the_earlier_row_then_the_lower_index_is_kept():
    z = torch.tensor([[1.0, 2.0, 1.0], [1.0, 3.0, -1.0]])
    code = linear_batch_topk(torch.eye(2), z.T.contiguous(), torch.zeros(3), 4)
    assert list(zip(code.rows.tolist(), code.columns.tolist(), strict=True)) == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 1),
    ]


FORMS = ["cpu", "reference", *(["fused"] if HAS_TRITON else [])]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [3, 4, 9])
def test_entries_that_are_not_positive_are_never_kept(form, count):
    layer = torch.eye(2), torch.tensor([[1.0, -1.0], [0.0, -2.0]]), torch.zeros(2)
    with using(form):
        code = linear_batch_topk(*layer, count)
    size = min(count, 4)
    assert code.rows.tolist() == [0] + [1] * (size - 1)
    assert code.columns.tolist() == [0] * size
    assert code.values.tolist() == [1.0] + [0.0] * (size - 1)


@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_no_result_of_what_takes_the_code(form):
    """Decoding, nested errors, prefix weights and all gradients: with padding and without."""
    generator = torch.Generator().manual_seed(0)
    x, dictionary = (torch.randn(s, 5, generator=generator) for s in (4, 7))
    layer = (x, torch.randn(7, 5, generator=generator), torch.full((7,), -1.0))
    outcomes = []
    with using(form):
        n_positive = int((linear_batch_topk(*layer, 28).values > 0).sum())
        assert 3 < n_positive < 20
        for count in (n_positive, 28):
            leaves = [t.clone().requires_grad_() for t in (*layer, dictionary)]
            code = linear_batch_topk(*leaves[:3], count)
            assert len(code.values) == count
            weights = prefix_weights(code, torch.linspace(0, 1, 8, dtype=torch.float64))
            made = ragged_decode(code, leaves[3], torch.ones(5))
            nested = ragged_nested_decode_loss(x, code, leaves[3], torch.ones(5), *weights)
            total = made.square().sum() + nested.sum()
            outcomes.append((made, nested, *torch.autograd.grad(total, leaves)))
    for plain, padded in zip(*outcomes, strict=True):
        torch.testing.assert_close(plain, padded)


def test_nan_is_kept_so_that_it_shows():
    x = torch.tensor([[torch.nan], [1.0]])
    for linear in (linear_batch_topk, reference.linear_batch_topk):
        assert linear(x, torch.ones(50, 1), torch.zeros(50), 10, sort=None).values.isnan().all()


def test_count_below_one_is_refused():
    with pytest.raises(ValueError, match=r"count = 0. Allowed: 1 or more. It is n · k"):
        linear_batch_topk(torch.ones(2, 2), torch.ones(3, 2), torch.zeros(3), 0)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="orientation"):
        linear_batch_topk(torch.ones(2, 2), torch.ones(3, 5), torch.zeros(3), 1)
    with pytest.raises(ValueError, match="one per output"):
        linear_batch_topk(torch.ones(2, 2), torch.ones(3, 2), torch.zeros(2), 1)
