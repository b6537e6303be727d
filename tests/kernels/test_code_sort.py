"""One sort of a code serves encoder and decoder: the same gradients, sorted once."""

from __future__ import annotations

import importlib
import importlib.util

import pytest
import torch
from sae_kernels import (
    CodeSort,
    linear_batch_topk,
    linear_masked_topk,
    linear_topk,
    ragged_decode,
    sparse_decode,
)
from sae_kernels.dispatch import using

SORTS = {"cpu": ("sae_kernels.code_cpu", "stable_order")}
if importlib.util.find_spec("triton") is not None:
    SORTS["fused"] = ("sae_kernels.code_fused", "latent_order")


def topk(x, weight, bias, dictionary, offset, sort):
    indices, values = linear_topk(x, weight, bias, 3, sort=sort)
    return sparse_decode(indices, values, dictionary, offset, sort=sort)


def masked(x, weight, bias, dictionary, offset, sort):
    mask = torch.arange(len(weight)) % 3 > 0
    indices, values = linear_masked_topk(x, weight, bias, mask, 3, sort=sort)
    return sparse_decode(indices, values, dictionary, offset, sort=sort)


def batch(x, weight, bias, dictionary, offset, sort):
    code = linear_batch_topk(x, weight, bias, 20, sort=sort)
    return ragged_decode(code, dictionary, offset, sort=sort)


@pytest.mark.parametrize("form", SORTS)
@pytest.mark.parametrize("step", [topk, masked, batch])
def test_gradients_are_bit_equal_with_one_sort_instead_of_two(step, form, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    shapes = {"x": (9, 5), "weight": (33, 5), "bias": (33,), "dictionary": (33, 5), "offset": (5,)}
    given = [torch.randn(shape, generator=generator) for shape in shapes.values()]
    module, name = SORTS[form]
    module = importlib.import_module(module)
    plain, calls = getattr(module, name), []
    monkeypatch.setattr(module, name, lambda *a, **k: calls.append(1) or plain(*a, **k))
    found, counts = [], []
    for sort in (None, CodeSort()):
        leaves = [tensor.clone().requires_grad_() for tensor in given]
        with using(form):
            loss = step(*leaves, sort).square().sum()
            found.append(torch.autograd.grad(loss, leaves))
        counts.append(len(calls))
        calls.clear()
    assert counts == [2, 1]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_sort_is_refused_for_a_second_code():
    sort, dictionary = CodeSort(), torch.ones(4, 2, requires_grad=True)
    for last in (2, 3):
        indices = torch.tensor([[0, last]])
        x_hat = sparse_decode(indices, torch.ones(1, 2), dictionary, torch.zeros(2), sort=sort)
        if last == 2:
            x_hat.sum().backward()
            kept = indices
        else:
            with pytest.raises(ValueError, match="Make a new CodeSort for every code"):
                x_hat.sum().backward()
    assert kept is not None
