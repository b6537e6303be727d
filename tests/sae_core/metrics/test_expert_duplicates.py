from __future__ import annotations

import pytest
import torch

from sae_core.metrics import metrics
from tests.sae_core.metrics.tallies import drawn_code, subject, tallied


def test_directions_that_two_experts_have_are_counted_and_those_within_one_are_not() -> None:
    """Experts of rows {x, 2 x} and {z, 3 y}, y at cosine 0.95 to x."""
    near = torch.tensor([0.95, (1 - 0.95**2) ** 0.5, 0.0])
    x, _, z = torch.eye(3)
    rows = torch.stack([x, 2 * x, z, 3 * near])
    _, arrays = tallied("expert_duplicates", subject(rows, n_experts=2), drawn_code(5, 2, 4))
    found = metrics()["expert_duplicates"].values(arrays)
    assert found["duplicates_across_experts"].value == pytest.approx(3 / 4)
    assert found["cosine_across_experts"].value == pytest.approx(3 * 0.95 / 4)
    assert {measured.n for measured in found.values()} == {4}


def test_without_experts_there_is_a_reason_in_place_of_a_number() -> None:
    _, arrays = tallied("expert_duplicates", subject(torch.eye(4)), drawn_code(5, 2, 4))
    found = metrics()["expert_duplicates"].values(arrays)
    assert {measured.value for measured in found.values()} == {None}
    assert {measured.reason for measured in found.values()} == {
        "its latents are not divided among experts"
    }
