from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_kernels import nested_decode_loss, nested_errors, nested_walk, sparse_decode
from sae_kernels.nested_decode_loss import cpu, reference
from torch.utils._python_dispatch import TorchDispatchMode

SIZES = st.sampled_from([1, 3, 33])


def random_code(n, k, d, f, *, seed, dtype=torch.float64):
    """x, indices, values, dictionary, bias."""
    generator = torch.Generator().manual_seed(seed)
    x, values, dictionary, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        for shape in ((n, d), (n, k), (f, d), (d,))
    )
    return x, torch.randint(f, (n, k), generator=generator), values, dictionary, bias


@st.composite
def cases(draw):
    n, k, d, f = draw(SIZES), draw(SIZES), draw(SIZES), draw(SIZES)
    seed = draw(st.integers(0, 2**16))
    x, indices, values, dictionary, bias = random_code(n, k, d, f, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    per_token = draw(st.booleans())
    weights = torch.rand((n, k + 1) if per_token else k + 1, generator=generator).double()
    density = draw(st.sampled_from([0.0, 0.1, 0.6, 1.0]))
    weights *= torch.rand(weights.shape, generator=generator) < density
    if draw(st.booleans()):
        padding = torch.rand(n, k, generator=generator) < 0.5
        values, indices = values.masked_fill(padding, 0), indices.masked_fill(padding, 0)
    if draw(st.booleans()):
        x, indices, values, dictionary = (
            t.T.contiguous().T for t in (x, indices, values, dictionary)
        )
    return x, indices, values, dictionary, bias, weights


def with_gradients(decode, x, indices, values, dictionary, bias, weights):
    """The loss per token, and the gradients of a sum of it that weighs tokens unequally."""
    inputs = [t.clone().requires_grad_() for t in (x, values, dictionary, bias)]
    loss = decode(inputs[0], indices, *inputs[1:], weights)
    shares = torch.linspace(-1, 2, len(x), dtype=loss.dtype)
    return loss, *torch.autograd.grad((shares * loss).sum(), inputs)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_equals_the_reference_with_every_gradient(case):
    ours = with_gradients(cpu.nested_decode_loss, *case)
    judge = with_gradients(reference.nested_decode_loss, *case)
    for a, b in zip(ours, judge, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(cases())
def test_the_curve_equals_the_reference(case):
    *code, _ = case
    torch.testing.assert_close(
        nested_errors(*code), reference.nested_errors(*code), rtol=1e-11, atol=1e-10
    )


@pytest.mark.parametrize("density", [0.2, 0.6, 1.0])
def test_tokens_of_many_blocks_equal_those_of_one(monkeypatch, density):
    code = random_code(50, 30, 7, 60, seed=11)
    generator = torch.Generator().manual_seed(12)
    weights = torch.rand(50, 31, generator=generator).double()
    weights *= torch.rand(50, 31, generator=generator) < density
    once = with_gradients(nested_decode_loss, *code, weights)
    monkeypatch.setattr(nested_walk, "_BLOCK_ENTRIES", 64)
    for a, b in zip(once, with_gradients(nested_decode_loss, *code, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


class _Large(TorchDispatchMode):
    """The shapes of all results of at least so many entries, views apart."""

    def __init__(self, entries: int) -> None:
        super().__init__()
        self.entries, self.shapes = entries, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple) else (out,):
            if isinstance(tensor, torch.Tensor) and tensor.numel() >= self.entries:
                self.shapes.add(tuple(tensor.shape))
        return out


def test_no_prefix_is_stored_and_only_the_dictionarys_gradient_has_its_size():
    n, k, d, f = 64, 40, 32, 3000
    x, indices, values, dictionary, bias = random_code(n, k, d, f, seed=13)
    learned = [t.requires_grad_() for t in (values, dictionary, bias)]
    with _Large(n * k * d // 8) as large:
        loss = nested_decode_loss(x, indices, *learned, torch.ones(k + 1).double())
        torch.autograd.grad(loss.sum(), learned)
    assert large.shapes == {(f, d)}


def test_equals_the_definition_written_as_loops():
    x, indices, values, dictionary, bias = random_code(4, 3, 5, 7, seed=0)
    weights = torch.rand(4, 4, dtype=torch.float64)
    for token in range(4):
        error, expected = x[token] - bias, []
        expected.append(error.dot(error))
        for j in range(3):
            error = error - values[token, j] * dictionary[indices[token, j]]
            expected.append(error.dot(error))
        curve = torch.stack(expected)
        torch.testing.assert_close(
            nested_errors(x, indices, values, dictionary, bias)[token], curve
        )
        loss = nested_decode_loss(x, indices, values, dictionary, bias, weights)
        torch.testing.assert_close(loss[token], weights[token].dot(curve))


def test_all_prefixes_of_a_dictionary_equal_brute_force_over_each_of_them():
    """Latents by index, weights the gaps between them: Σ over all f + 1 prefixes, exactly."""
    n, k, d, f = 5, 6, 8, 40
    x, _, values, dictionary, bias = random_code(n, k, d, f, seed=3)
    generator = torch.Generator().manual_seed(4)
    indices = torch.stack([torch.randperm(f, generator=generator)[:k] for _ in range(n)])
    indices = indices.sort(1).values
    edges = torch.cat([torch.full((n, 1), -1), indices, torch.full((n, 1), f)], dim=1)
    weights = edges.diff(dim=1).double() / (f + 1)

    def over_every_prefix(x, indices, values, dictionary, bias, _):
        dense = torch.zeros(n, f, dtype=torch.float64).scatter_add(1, indices, values)
        total = torch.zeros(n, dtype=torch.float64)
        for length in range(f + 1):
            x_hat = dense[:, :length] @ dictionary[:length] + bias
            total = total + (x - x_hat).square().sum(1) / (f + 1)
        return total

    case = (x, indices, values, dictionary, bias, weights)
    ours = with_gradients(nested_decode_loss, *case)
    judge = with_gradients(over_every_prefix, *case)
    for a, b in zip(ours, judge, strict=True):
        assert (a - b).abs().max() <= 1e-14 * b.abs().max()


def test_a_weight_on_the_last_alone_is_the_plain_loss():
    x, indices, values, dictionary, bias = random_code(9, 4, 6, 20, seed=5)
    weights = torch.tensor([0.0, 0, 0, 0, 1], dtype=torch.float64)

    def plain(x, indices, values, dictionary, bias, _):
        return (x - sparse_decode(indices, values, dictionary, bias)).square().sum(1)

    case = (x, indices, values, dictionary, bias, weights)
    ours = with_gradients(nested_decode_loss, *case)
    for a, b in zip(ours, with_gradients(plain, *case), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_padding_behind_the_latents_changes_nothing():
    x, indices, values, dictionary, bias = random_code(9, 4, 6, 20, seed=6)
    weights = torch.rand(9, 5, dtype=torch.float64)
    none = torch.zeros(9, 3)
    longer = (
        x,
        torch.cat([indices, none.long()], 1),
        torch.cat([values, none.double()], 1),
        dictionary,
        bias,
        torch.cat([weights, none.double()], 1),
    )
    loss, d_x, d_values, *others = with_gradients(
        nested_decode_loss, x, indices, values, dictionary, bias, weights
    )
    loss_2, d_x_2, d_values_2, *others_2 = with_gradients(nested_decode_loss, *longer)
    for a, b in zip((loss, d_x, *others), (loss_2, d_x_2, *others_2), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(d_values, d_values_2[:, :4], rtol=1e-13, atol=1e-13)
    assert not d_values_2[:, 4:].any()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_same_bits_every_time_and_for_any_number_of_threads(n_threads):
    code = random_code(300, 7, 70, 40, seed=7, dtype=torch.float32)
    case = (*code, torch.rand(8, generator=torch.Generator().manual_seed(0)))
    once = with_gradients(nested_decode_loss, *case)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    again = with_gradients(nested_decode_loss, *case)
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


def test_no_tokens_and_no_latents_are_no_special_case():
    x, indices, values, dictionary, bias = random_code(3, 0, 2, 4, seed=8)
    loss = nested_decode_loss(x, indices, values, dictionary, bias, torch.ones(1).double())
    torch.testing.assert_close(loss, (x - bias).square().sum(1))
    none = random_code(0, 3, 2, 4, seed=8)
    assert nested_decode_loss(*none, torch.ones(4).double()).shape == (0,)
    assert nested_errors(*none).shape == (0, 4)


def test_gradient_does_not_reach_the_weights():
    code = random_code(2, 3, 4, 5, seed=9)
    weights = torch.rand(4, dtype=torch.float64, requires_grad=True)
    assert not nested_decode_loss(*code, weights).requires_grad


def test_shapes_that_do_not_fit_are_refused():
    x, indices, values, dictionary, bias = random_code(2, 3, 4, 5, seed=10)
    with pytest.raises(ValueError, match="which dimension is the dictionary's"):
        nested_errors(x.T, indices, values, dictionary, bias)
    with pytest.raises(ValueError, match="weight is that of the bias alone"):
        nested_decode_loss(x, indices, values, dictionary, bias, torch.ones(3).double())
