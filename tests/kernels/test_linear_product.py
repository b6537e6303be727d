from __future__ import annotations

import pytest
import torch
from sae_kernels.linear_product import linear_product


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize(("d", "f"), [(33, 100), (200, 777), (512, 1000)])
def test_a_row_has_the_same_bits_whatever_rows_stand_beside_it(d, f):
    draws = torch.Generator().manual_seed(0)
    x, weight = torch.randn(300, d, generator=draws), torch.randn(f, d, generator=draws)
    bias = torch.randn(f, generator=draws)
    whole = linear_product(x, weight, bias)
    for n in (1, 2, 7, 64, 100, 299):
        assert torch.equal(linear_product(x[:n], weight, bias), whole[:n]), n
        assert torch.equal(linear_product(x[-n:], weight, bias), whole[-n:]), n


def test_it_is_the_product_with_bias():
    x, weight = torch.randn(5, 7), torch.randn(9, 7)
    bias = torch.randn(9)
    torch.testing.assert_close(linear_product(x, weight, bias), x @ weight.T + bias)
    assert linear_product(x[:0], weight, bias).shape == (0, 9)
