from __future__ import annotations

import pytest
import torch
from sae_kernels import RaggedCode

from sae_core.draws import generator
from sae_core.prefixes import (
    power_cumulative,
    power_lengths,
    prefix_weights,
    weights_on_lengths,
)

POWERS = pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.5, 3.0])


@POWERS
def test_lengths_are_probabilities_on_every_length_but_the_last(power):
    probabilities = power_cumulative(40, power).diff()
    assert power_cumulative(40, power)[0] == 0
    assert (probabilities[:-1] > 0).all()
    assert probabilities[-1] == 0
    assert probabilities.sum() == pytest.approx(1, abs=1e-15)


def test_the_distribution_by_hand():
    # Power 2, f = 4: P(X < x) = (1 − 1/x) / (1 − 1/4).
    expected = torch.tensor([0, 2 / 3, 8 / 9, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(power_cumulative(4, 2.0), expected)
    uniform = torch.tensor([0, 1 / 3, 2 / 3, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(power_cumulative(4, 0.0), uniform)


def test_power_1_is_the_limit():
    torch.testing.assert_close(
        power_cumulative(100, 1.0), power_cumulative(100, 1 + 1e-9), atol=1e-6, rtol=0
    )


@POWERS
def test_drawn_lengths_have_that_distribution(power):
    n, f = 20_000, 12
    lengths = power_lengths(n, f, power, draws=generator(0, "test"))
    assert lengths.min() >= 1
    assert lengths.max() < f
    shares = torch.bincount(lengths, minlength=f + 1).cumsum(0) / n
    # Kolmogorov: the largest distance exceeds 1.95 / sqrt(n) once in 1,000 seeds.
    assert (shares - power_cumulative(f, power)).abs().max() < 1.95 / n**0.5


def test_a_tokens_weights_are_those_of_the_prefixes_that_its_latents_span():
    # f = 10; token 0 has latents 2 and 5, token 1 none, token 2 latent 0 and the last.
    code = RaggedCode(
        torch.tensor([0, 0, 2, 2]), torch.tensor([2, 5, 0, 9]), torch.ones(4).double(), 3
    )
    cumulative = torch.arange(11).double()  # weight 1 on each of the lengths 1 ... 10
    after, alone = prefix_weights(code, cumulative)
    assert after.tolist() == [3, 5, 9, 1]
    assert alone.tolist() == [2, 10, 0]


def test_groups_put_their_weight_where_they_end():
    code = RaggedCode(torch.tensor([0, 0]), torch.tensor([1, 4]), torch.ones(2), 1)
    cumulative = weights_on_lengths([2, 4, 8], 8)
    after, alone = prefix_weights(code, cumulative)
    assert after.tolist() == [2, 1]
    assert alone.tolist() == [0]
    assert weights_on_lengths([3, 3], 4).tolist() == [0, 0, 0, 2, 2]


def test_a_batch_in_which_nothing_is_active_weighs_the_bias():
    none = torch.zeros(0)
    after, alone = prefix_weights(
        RaggedCode(none.long(), none.long(), none, 2), weights_on_lengths([1, 3], 3)
    )
    assert after.shape == (0,)
    assert alone.tolist() == [2, 2]
