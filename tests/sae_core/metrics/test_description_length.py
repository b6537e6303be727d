from __future__ import annotations

import math

import pytest
import torch

from sae_core.code import SparseCode
from sae_core.metrics import metrics
from tests.sae_core.metrics.tallies import drawn_code, subject, tallied


def bits(code: SparseCode, dictionary: torch.Tensor, **more) -> dict[str, float]:
    of = subject(dictionary, **more)
    _, arrays = tallied("description_length", of, code, batch=3)
    return {k: m.value for k, m in metrics()["description_length"].values(arrays).items()}


def test_a_code_solved_by_hand() -> None:
    """Latent 0 fires on half of 8 tokens, latent 1 on all, latent 2 never.

    Location: 1 + 0 + 0 bits. Values: twelve, of which 4, 4, 4 fall into three bins: log₂ 3 each.
    """
    values = torch.tensor([[0.26, 0.51]] * 4 + [[0.0, 2.0]] * 4)
    indices = torch.tensor([[0, 1]]).expand(8, 2)
    found = bits(SparseCode(indices, values, 3), torch.eye(3))
    assert found["location_bits"] == pytest.approx(1.0)
    assert found["activation_bits"] == pytest.approx(1.5 * math.log2(3))
    assert found["dictionary_bits"] == pytest.approx(12 * 16 / 1e9)
    total = found["location_bits"] + found["activation_bits"] + found["dictionary_bits"]
    assert found["description_bits"] == pytest.approx(total)


def test_units_do_not_matter() -> None:
    """Longer decoder rows with smaller activations, or a scaled input, are the same code."""
    code = drawn_code(200, 4, 6)
    one = bits(code, torch.eye(6))
    rows = bits(code._replace(values=code.values / 4), 4 * torch.eye(6))
    scaled = bits(code._replace(values=code.values * 2), torch.eye(6), input_scale=0.5)
    assert rows == pytest.approx(one)
    assert scaled == pytest.approx(one)


def test_a_silent_code_costs_its_dictionary() -> None:
    code = drawn_code(10, 2, 4)._replace(values=torch.zeros(10, 2))
    found = bits(code, torch.eye(4))
    assert (found["location_bits"], found["activation_bits"]) == (0.0, 0.0)
