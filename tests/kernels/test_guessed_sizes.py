from __future__ import annotations

import importlib.util

import pytest
import torch

from sae_core.architectures import config_class, names
from tests.kernels.guessed_sizes import GuessedSizes
from tests.kernels.whole_steps import ODD, every_guess, trainee_on_meta, variants

X = torch.empty(40, 6, device="meta")


@pytest.mark.parametrize(("odd", "found"), [(False, 32), (True, 33)])
def test_what_numbers_decide_has_the_guessed_size(odd, found):
    with GuessedSizes(32, odd=odd):
        assert (X > 0).nonzero().shape == (found, 2)
        assert [places.shape for places in (X > 0).nonzero(as_tuple=True)] == [(found,)] * 2
        assert X[X > 0].shape == (found,)
        assert X[X[:, 0] > 0].shape == (found, 6)
        assert X.long()[0].tolist() == [found] * 6
        assert int(X.long().sum()) == found
        assert bool((X > 0).any())
        assert [len(part) for part in X.split([9, 9, 22])] == [13 + odd, 13, 14 - odd]


def test_no_more_is_found_than_there_is():
    with GuessedSizes(1000, odd=False):
        assert X[X > 0].shape == (240,)


def test_tensors_with_numbers_are_answered_truly():
    x = torch.tensor([0, 3, 0])
    with GuessedSizes(32, odd=True):
        assert x.nonzero().tolist() == [[1]]
        assert x.split([1, 2])[1].tolist() == [3, 0]


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is for Linux alone")
@pytest.mark.parametrize("name", names())
def test_a_step_of_every_architecture_shows_what_it_launches(name):
    for fields in variants(name, ODD):
        one = trainee_on_meta(config_class(name)(**fields), width=ODD["d"])
        launched = {launch.kernel.__name__ for launch in every_guess(one, n=ODD["n"])}
        assert launched >= {"_norms", "_step"}
        assert ("_product" in launched) == ("k" in fields)
