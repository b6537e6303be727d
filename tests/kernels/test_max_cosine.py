from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_kernels import max_cosine
from torch.utils._python_dispatch import TorchDispatchMode


def _draw(seed: int, f: int, d: int) -> torch.Tensor:
    return torch.randn(f, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**16),
    st.sampled_from([1, 3, 33]),
    st.sampled_from([1, 2, 34]),
    st.sampled_from([1, 3, 16]),
    st.sampled_from([1, 7, 2048]),
)
def test_equals_brute_force_for_any_block(seed, f, g, d, block):
    a, b = _draw(seed, f, d), _draw(seed + 1, g, d)
    found = max_cosine(a, b, block=block)
    cosines = (a / a.norm(dim=1, keepdim=True)) @ (b / b.norm(dim=1, keepdim=True)).T
    torch.testing.assert_close(found.value_ab, cosines.max(1).values)
    torch.testing.assert_close(found.value_ba, cosines.max(0).values)
    torch.testing.assert_close(cosines[torch.arange(f), found.index_ab], cosines.max(1).values)
    torch.testing.assert_close(cosines[found.index_ba, torch.arange(g)], cosines.max(0).values)


def test_of_equal_cosines_the_lowest_index_is_given_across_blocks():
    rows = torch.eye(3).repeat(4, 1)
    found = max_cosine(rows, rows, block=2)
    assert found.index_ab.tolist() == [0, 1, 2] * 4
    assert found.index_ba.tolist() == [0, 1, 2] * 4


def test_a_permuted_dictionary_has_mmcs_one_and_gives_the_permutation():
    a = _draw(0, 50, 8)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    found = max_cosine(a, 3 * a[order], block=16)
    torch.testing.assert_close(found.value_ab.mean(), torch.ones((), dtype=torch.float64))
    assert torch.equal(found.index_ba, order)
    assert torch.equal(found.index_ab, order.argsort())


def test_a_zero_row_has_cosine_zero():
    found = max_cosine(torch.zeros(1, 4), torch.eye(4))
    assert found.value_ab.tolist() == [0.0]


class _Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation gave."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.entries = max(self.entries, tensor.numel())
        return out


def test_no_more_than_a_block_of_cosines_is_held():
    a, b = _draw(0, 300, 4), _draw(1, 500, 4)
    with _Largest() as largest:
        max_cosine(a, b, block=64)
    assert largest.entries == 64 * 64


def test_input_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="same width"):
        max_cosine(torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(ValueError, match="same width"):
        max_cosine(torch.ones(0, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match="block = 0"):
        max_cosine(torch.ones(2, 3), torch.ones(2, 3), block=0)
