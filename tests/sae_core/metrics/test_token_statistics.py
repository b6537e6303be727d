from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sae_core.code import SparseCode
from sae_core.metrics import metrics, token_statistics
from tests.sae_core.metrics.tallies import DOCUMENTS, VOCABULARY, drawn_code, subject, tallied


def test_a_latent_of_one_token_and_one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latent 0 fires on token 5 alone, latent 1 on 2, 2, 9, 9, latent 2 never."""
    monkeypatch.setattr(token_statistics, "MIN_FIRES", 3)
    tokens = torch.tensor([5, 5, 5, 9, 9, 2, 2])
    code = SparseCode(torch.tensor([0, 0, 0, 1, 1, 1, 1])[:, None], torch.ones(7, 1), 3)
    _, arrays = tallied("token_statistics", subject(torch.eye(3)), code, tokens=tokens)
    assert arrays["n_fires"].tolist() == [3, 4, 0]
    assert arrays["token_entropy"] == pytest.approx([0, math.log(2), 0])
    assert arrays["top_token"].tolist() == [5, 2, -1]
    assert arrays["top_token_share"].tolist() == [1.0, 0.5, 0.0]
    found = metrics()["token_statistics"].values(arrays)
    assert found["token_entropy"].value == pytest.approx(math.log(2) / 2)
    assert found["single_token_latents"].value == 0.5
    assert found["token_entropy"].n == 2


def test_latents_of_few_fires_are_not_judged() -> None:
    code = SparseCode(torch.zeros(7, 1, dtype=torch.int64), torch.ones(7, 1), 2)
    _, arrays = tallied("token_statistics", subject(torch.eye(2)), code)
    found = metrics()["token_statistics"].values(arrays)["single_token_latents"]
    assert found.value is None
    assert "16 tokens" in found.reason


@pytest.mark.parametrize("pending", [1, 2**20])
def test_counts_are_those_of_the_dense_table(monkeypatch: pytest.MonkeyPatch, pending: int) -> None:
    monkeypatch.setattr(token_statistics, "_PENDING", pending)
    code, f = drawn_code(300, 4, 6), 6
    _, arrays = tallied("token_statistics", subject(torch.ones(f, 3)), code, batch=70)
    table = np.zeros((f, VOCABULARY))
    for place, (latents, values) in enumerate(zip(code.indices, code.values, strict=True)):
        for latent in latents[values > 0].tolist():
            table[latent, place % VOCABULARY] += 1
    share = table / table.sum(1, keepdims=True)
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(1)
    assert arrays["token_entropy"] == pytest.approx(entropy)
    for group in range(DOCUMENTS):
        kept = torch.arange(300) * DOCUMENTS // 300 != group
        rest = SparseCode(code.indices[kept], code.values[kept], f)
        tokens = (torch.arange(300) % VOCABULARY)[kept]
        _, without = tallied("token_statistics", subject(torch.ones(f, 3)), rest, tokens=tokens)
        for name, measured in metrics()["token_statistics"].values(without).items():
            assert arrays[f"left_out/{name}"][group] == pytest.approx(measured.value), name
    assert arrays["top_token"].tolist() == table.argmax(1).tolist()
    assert arrays["top_token_share"] == pytest.approx(share.max(1))
