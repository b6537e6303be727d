from __future__ import annotations

import numpy as np
import pytest
import torch

from sae_core.metrics.frequency_cuts import STATED
from tests.sae_core.metrics.tallies import (
    DOCUMENTS,
    drawn_code,
    drawn_dictionary,
    subject,
    tallied,
)

N, K, F, D = 120, 4, 9, 5


@pytest.fixture
def scene():
    frequency = torch.tensor([0.3, 0.012, 0.012, 0.7, 0.0, 0.08, 0.15, 0.03, 0.25])
    of = subject(drawn_dictionary(F, D), frequency, torch.linspace(-1, 1, D))
    code = drawn_code(N, K, F)
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return of, code, x, frequency


def without(of, code, x, frequency, tau: float) -> tuple[torch.Tensor, torch.Tensor]:
    """‖x − x̂‖² and L0 per token when latents above tau are dropped."""
    kept = code.dense().double() * (frequency <= tau)
    x_hat = kept @ of.dictionary.double() + of.bias.double()
    return (x - x_hat).square().sum(1), (kept > 0).sum(1)


def test_every_cut_is_what_dropping_the_latents_gives(scene) -> None:
    of, code, x, frequency = scene
    _, arrays = tallied("frequency_cuts", of, code, x=x, batch=50)
    order = np.argsort(arrays["frequency"], kind="stable")
    for tau in [-0.1, *frequency.tolist(), 1.0]:
        kept = int((frequency.double() <= tau).sum())
        error, l0 = without(of, code, x, frequency.double(), tau)
        found = arrays["empty_error"] + arrays["steps"][order][:kept].sum()
        assert found == pytest.approx(error.sum().item(), rel=1e-12)
        assert arrays["fires"][order][:kept].sum() == l0.sum()


def test_stated_cuts_are_kept_per_document(scene) -> None:
    of, code, x, frequency = scene
    _, arrays = tallied("frequency_cuts", of, code, x=x, batch=50)
    documents = torch.arange(N) * DOCUMENTS // N
    for cut, tau in enumerate(STATED):
        for column, per_token in enumerate(without(of, code, x, frequency, tau)):
            expected = np.bincount(documents, weights=per_token.numpy())
            assert arrays["documents"][cut, :, column] == pytest.approx(expected)


def test_codes_of_cuts_lack_the_dropped_latents_and_are_named_once(scene) -> None:
    of, code, x, frequency = scene
    tally, _ = tallied("frequency_cuts", of, code, x=x)
    found = tally.codes(code)
    assert list(found) == ["1.0", "0.5", "0.2", "0.1", "0.05", "0.02", "0.01"]
    for name, cut in found.items():
        assert torch.equal(cut.dense(), code.dense() * (frequency <= float(name)))
    rare = subject(of.dictionary, torch.full((F,), 0.03))
    tally, _ = tallied("frequency_cuts", rare, code, x=x)
    assert list(tally.codes(code)) == ["1.0", "0.02"]
