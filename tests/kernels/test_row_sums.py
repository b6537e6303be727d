from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from sae_kernels.row_sums import stable_order, transposed_sums


@given(st.lists(st.integers(0, 5) | st.integers(0, 2**40)))
def test_the_order_is_that_of_a_stable_sort(keys):
    columns = torch.tensor(keys, dtype=torch.int64)
    assert torch.equal(stable_order(columns), columns.sort(stable=True).indices)


def test_transposed_sums_have_the_same_bits_for_any_number_of_threads():
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(500, 32, generator=generator)
    rows = torch.arange(500).repeat_interleave(8)
    columns = torch.randint(40, (4000,), generator=generator)
    weights = torch.randn(4000, generator=generator)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(transposed_sums(source, rows, columns, weights, n_columns=64))
    torch.set_num_threads(1)
    assert torch.equal(*found)
    expected = torch.zeros(64, 32).index_add_(0, columns, weights.unsqueeze(1) * source[rows])
    torch.testing.assert_close(found[0], expected)
