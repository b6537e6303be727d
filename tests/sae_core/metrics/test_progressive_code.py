from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.sae_core.metrics.tallies import (
    DOCUMENTS,
    drawn_code,
    drawn_dictionary,
    subject,
    tallied,
)

N, K, F, D = 120, 6, 9, 5


@pytest.fixture
def scene():
    of = subject(drawn_dictionary(F, D), bias=torch.linspace(-1, 1, D))
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return of, drawn_code(N, K, F), x


def strongest(of, code, k: int) -> torch.Tensor:
    """The dense code (n, f) with the k entries of largest ‖a d‖ per token."""
    dense = code.dense()
    size = dense * of.dictionary.norm(dim=1)
    kept = torch.zeros_like(dense, dtype=torch.bool)
    kept.scatter_(1, size.topk(k, dim=1).indices, True)
    return dense * kept


@pytest.mark.parametrize("batch", [13, 120])
def test_every_prefix_is_what_keeping_the_strongest_gives(scene, batch: int) -> None:
    of, code, x = scene
    _, arrays = tallied("progressive_code", of, code, x=x, batch=batch)
    documents = torch.arange(N) * DOCUMENTS // N
    widest = int((code.values > 0).sum(1).max())
    assert arrays["errors"].shape == (DOCUMENTS, widest + 1)
    for k in range(widest + 1):
        kept = strongest(of, code, k).double()
        error = (x - kept @ of.dictionary.double() - of.bias.double()).square().sum(1)
        for name, per_token in (("errors", error), ("active", (kept > 0).sum(1))):
            expected = np.bincount(documents, weights=per_token.numpy())
            assert arrays[name][:, k] == pytest.approx(expected), (name, k)


def test_codes_are_powers_of_two_and_reach_the_whole(scene) -> None:
    of, code, x = scene
    tally, arrays = tallied("progressive_code", of, code, x=x)
    widest = arrays["errors"].shape[1] - 1
    found = tally.codes(code)
    assert list(found) == ["1", "2", "4", "8"][: len(found)]
    assert int(list(found)[-1]) >= widest > int(list(found)[-2])
    for name, kept in found.items():
        assert torch.allclose(kept.dense(), strongest(of, code, min(int(name), F)))


def test_a_silent_code_has_the_bias_alone(scene) -> None:
    of, code, x = scene
    silent = code._replace(values=torch.zeros_like(code.values))
    tally, arrays = tallied("progressive_code", of, silent, x=x)
    assert arrays["errors"].shape == (DOCUMENTS, 1)
    assert tally.codes(silent) == {}
