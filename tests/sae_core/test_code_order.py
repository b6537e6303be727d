from __future__ import annotations

import torch

from sae_core.code_order import errors_along, reordered


def drawn(n: int = 700, k: int = 5, f: int = 12, d: int = 6):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    indices = torch.rand(n, f, generator=generator).argsort(dim=1)[:, :k]
    values = normal(n, k).clamp_min(0)
    return normal(n, d), indices, values, normal(f, d), normal(d)


def test_errors_are_those_of_every_prefix() -> None:
    x, indices, values, dictionary, bias = drawn()
    found = errors_along(x, indices, values, dictionary, bias)
    assert found.shape == (len(x), 6)
    for k in range(6):
        kept = values[:, :k].unsqueeze(2) * dictionary[indices[:, :k]]
        expected = (x - bias - kept.sum(1)).square().sum(1)
        assert torch.allclose(found[:, k], expected, rtol=1e-12)


def test_a_code_is_ordered_by_key_what_is_not_active_last() -> None:
    indices = torch.tensor([[4, 2, 7, 1]])
    values = torch.tensor([[1.0, 2.0, 0.0, 3.0]])
    key = torch.tensor([[5.0, 5.0, 0.0, 9.0]])
    found, weights = reordered(indices, values, key)
    assert found.tolist() == [[2, 4, 1, 7]]
    assert weights.tolist() == [[2.0, 1.0, 3.0, 0.0]]
