from __future__ import annotations

import pytest
import torch

from pipeline.evaluation.predictions import kl, predictions


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 11, (3, 7), generator=torch.Generator().manual_seed(0))


def logits(seed: int) -> torch.Tensor:
    return 3 * torch.randn(3, 7, 11, generator=torch.Generator().manual_seed(seed))


def test_losses_are_cross_entropies_of_the_next_token(tokens) -> None:
    expected = torch.nn.functional.cross_entropy(
        logits(1)[:, :-1].flatten(0, 1).double(), tokens[:, 1:].flatten(), reduction="none"
    )
    found = predictions(logits(1), tokens).loss
    assert found.shape == (3, 6)
    assert torch.allclose(found.flatten(), expected, atol=1e-5)


def test_kl_is_from_clean_to_other(tokens) -> None:
    p, q = (logits(seed)[:, :-1].double().log_softmax(2) for seed in (1, 2))
    expected = (p.exp() * (p - q)).sum(2)
    found = kl(predictions(logits(1), tokens), predictions(logits(2), tokens))
    assert torch.allclose(found, expected, atol=1e-5)


def test_equal_predictions_are_no_distance_apart(tokens) -> None:
    same = predictions(logits(1), tokens)
    assert kl(same, predictions(logits(1), tokens)).abs().max() == 0.0
