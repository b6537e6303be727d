from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from sae_core.code import SparseCode
from tests.sae_core.metrics.tallies import drawn_code, subject, tallied

F, D = 5, 4


@pytest.mark.parametrize("batch", [37, 400])
def test_every_fire_is_counted_in_the_half_octave_of_its_activation(batch: int) -> None:
    code = drawn_code(400, 3, F)
    of = subject(torch.ones(F, D), input_scale=0.25)
    _, arrays = tallied("activation_histogram", of, code, batch=batch)
    dense, lowest = code.dense().double(), float(arrays["lowest"])
    assert lowest == pytest.approx(8 * 2.0**-14)
    edges = lowest * 2.0 ** (torch.arange(41, dtype=torch.float64) / 2)
    for latent in range(F):
        fires = dense[:, latent][dense[:, latent] > 0]
        expected = [int(((fires >= a) & (fires < b)).sum()) for a, b in pairwise(edges)]
        assert arrays["counts"][latent].tolist() == expected
        assert sum(expected) == len(fires)


def test_activations_beyond_the_bins_are_counted_in_the_outermost_ones() -> None:
    code = SparseCode(torch.zeros(3, 1, dtype=torch.int64), torch.tensor([[1e-9], [1e9], [0]]), 1)
    _, arrays = tallied("activation_histogram", subject(torch.ones(1, D)), code)
    assert np.flatnonzero(arrays["counts"][0]).tolist() == [0, 39]
    assert arrays["counts"].sum() == 2
