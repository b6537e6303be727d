from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_kernels import largest as module
from sae_kernels.largest import largest


def expected(z: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A stable sort of the whole row."""
    found = z.relu().sort(dim=1, descending=True, stable=True)
    values, indices = found.values[:, :k], found.indices[:, :k]
    return indices.masked_fill(values == 0, 0), values


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**16),
    st.sampled_from([(1, 1, 1), (3, 33, 33), (33, 512, 7), (40, 4096, 32), (5, 2048, 2048)]),
    st.sampled_from(["normal", "few values", "all equal", "negative", "one positive", "extreme"]),
)
def test_equals_a_stable_sort(seed, sizes, kind):
    n, f, k = sizes
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, f, generator=generator)
    if kind == "few values":
        z = (z * 2).round()
    elif kind == "all equal":
        z = torch.ones(n, f)
    elif kind == "negative":
        z = -z.abs() - 0.0
    elif kind == "one positive":
        z = -z.abs()
        z[:, f // 2] = 1e-40
    elif kind == "extreme":
        z[:, :: max(1, f // 5)] = torch.inf
        z[:, 1::7] = 1e-42
        z[:, ::3] = -torch.inf
    assert all(torch.equal(a, b) for a, b in zip(largest(z, k), expected(z, k), strict=True))


@pytest.mark.parametrize("f", [64, 4096])
def test_nan_of_either_sign_comes_first(f):
    z = torch.ones(2, f)
    z[0, 5], z[0, 40] = torch.nan, -torch.nan
    z[1, :8] = torch.inf
    indices, values = largest(z, 8)
    assert indices[0].tolist() == [5, 40, 0, 1, 2, 3, 4, 6]
    assert values[0, :2].isnan().all()
    assert values[0, 2:].tolist() == [1.0] * 6
    assert indices[1].tolist() == list(range(8))


def test_pieces_do_not_change_the_result(monkeypatch):
    z = torch.randn(50, 4096, generator=torch.Generator().manual_seed(0))
    whole = largest(z, 16)
    monkeypatch.setattr(module, "_PIECE_KEYS", 1000)
    assert all(torch.equal(a, b) for a, b in zip(whole, largest(z, 16), strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_follow_the_same_rule(dtype):
    z = torch.randn(9, 4096, generator=torch.Generator().manual_seed(0)).to(dtype)
    indices, values = largest(z, 16)
    judge = expected(z, 16)
    assert torch.equal(indices, judge[0])
    assert torch.equal(values.to(dtype), judge[1])
