from __future__ import annotations

import importlib.util

import pytest
import torch
from sae_kernels import linear_product, linear_threshold
from sae_kernels.dispatch import using

FORMS = ["reference", "cpu"]
if importlib.util.find_spec("triton") is not None:
    FORMS.append("fused")


@pytest.fixture(params=FORMS)
def form(request):
    with using(request.param):
        yield request.param


def test_an_output_on_its_threshold_is_off_and_so_is_one_that_is_not_positive(form):
    weight = torch.tensor([[1.0], [2.0], [-1.0], [0.0]])
    threshold = torch.tensor([1.0, 1.0, -9.0, -1.0])
    code = linear_threshold(torch.tensor([[1.0]]), weight, torch.zeros(4), threshold)
    assert code.columns.tolist() == [1]
    assert code.values.tolist() == [2.0]


def test_nan_is_kept_so_that_it_shows(form):
    x = torch.tensor([[torch.nan], [1.0]])
    code = linear_threshold(x, torch.ones(3, 1), torch.zeros(3), torch.tensor(0.5))
    assert code.rows.tolist() == [0, 0, 0, 1, 1, 1]
    assert code.values[:3].isnan().all()
    assert code.values[3:].tolist() == [1.0, 1.0, 1.0]


def test_rows_with_more_entries_than_the_capacity_lose_none_and_the_others_stay(form):
    x = torch.tensor([[0.0], [1.0], [-1.0], [2.0]])
    weight = torch.cat([torch.arange(1.0, 301), -torch.ones(2)]).view(-1, 1)
    code = linear_threshold(x, weight, torch.zeros(302), torch.tensor(0.0), capacity=2)
    assert torch.bincount(code.rows, minlength=4).tolist() == [0, 300, 2, 300]
    assert code.columns[:300].tolist() == list(range(300))
    assert code.columns[300:302].tolist() == [300, 301]
    assert code.values[302:].tolist() == [2.0 * i for i in range(1, 301)]


def test_the_threshold_gets_no_gradient(form):
    weight = torch.ones(3, 2, requires_grad=True)
    threshold = torch.zeros(3, requires_grad=True)
    code = linear_threshold(torch.ones(1, 2), weight, torch.zeros(3), threshold)
    code.values.sum().backward()
    assert threshold.grad is None
    assert torch.equal(weight.grad, torch.ones(3, 2))


def test_blocks_of_rows_do_not_change_the_result(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(100, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(64, 5, generator=generator, dtype=torch.float64)
    whole = linear_threshold(x, weight, weight[:, 0], weight[:, 1])
    monkeypatch.setattr(linear_product, "_BLOCK_ENTRIES", 1)
    monkeypatch.setattr(linear_product, "_BLOCK_ROWS", 7)
    parts = linear_threshold(x, weight, weight[:, 0], weight[:, 1])
    assert torch.equal(whole.rows, parts.rows)
    assert torch.equal(whole.columns, parts.columns)
    # Products of other shapes add in another order; what cancels leaves the rounding of its terms.
    torch.testing.assert_close(whole.values, parts.values, rtol=0, atol=1e-14)


def test_shapes_and_capacities_that_do_not_fit_are_refused():
    x, weight, bias = torch.ones(2, 2), torch.ones(3, 2), torch.zeros(3)
    with pytest.raises(ValueError, match="orientation"):
        linear_threshold(x, torch.ones(3, 5), bias, bias)
    with pytest.raises(ValueError, match="one per output, or one for all"):
        linear_threshold(x, weight, bias, torch.zeros(2))
    with pytest.raises(ValueError, match=r"capacity = 0\. Allowed: 1 or more"):
        linear_threshold(x, weight, bias, bias, capacity=0)
