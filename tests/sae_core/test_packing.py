from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_core.packing import packed


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**16),
    st.sampled_from([0, 1, 3, 33]),
    st.sampled_from([1, 3, 33]),
    st.floats(0, 1),
)
def test_packing_loses_nothing(seed, n, f, density):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.rand(n, f, generator=generator) * (
        torch.rand(n, f, generator=generator) < density
    )
    code = packed(dense)
    assert torch.equal(code.dense(), dense)
    most = int((dense > 0).sum(1).max()) if n else 0
    assert code.indices.shape == code.values.shape == (n, max(1, most))
    assert (code.indices[code.values == 0] == 0).all()


def test_gradient_reaches_what_was_packed():
    dense = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]], requires_grad=True)
    packed(dense).values.square().sum().backward()
    assert dense.grad.tolist() == [[0.0, 4.0, 0.0], [2.0, 0.0, 6.0]]
