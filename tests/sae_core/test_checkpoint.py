from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_core.architectures import config_class
from sae_core.checkpoint import restore_trainee, sae_from_bytes, sae_to_bytes, trainee_to_bytes
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

STATISTICS = statistics_of(Superposition().sample(512, step=0))


def trainee(**fields: object) -> Trainee:
    config = config_class("topk")(**({"n_latents": 8, "tokens": 640, "k": 3} | fields))
    return Trainee(config, name="a", statistics=STATISTICS, seed=0)


SAE_BYTES = sae_to_bytes(trainee().sae)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(SAE_BYTES) - 1))
def test_truncated_bytes_are_refused(length):
    with pytest.raises(ValueError, match="cannot be used"):
        sae_from_bytes(SAE_BYTES[:length])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SAE_BYTES) - 1), st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_noticed(place, bit):
    damaged = bytearray(SAE_BYTES)
    damaged[place] ^= 1 << bit
    with pytest.raises(ValueError, match="cannot be used"):
        sae_from_bytes(bytes(damaged))


def test_other_files_are_refused():
    for data in (b"", b"not a checkpoint at all", json.dumps({}).encode() * 10):
        with pytest.raises(ValueError, match="cannot be used"):
            sae_from_bytes(data)


def test_an_sae_is_no_training_state_and_the_other_way_round():
    one = trainee()
    with pytest.raises(ValueError, match="holds a sae, not a trainee"):
        restore_trainee(one, SAE_BYTES)
    with pytest.raises(ValueError, match="holds a trainee, not a sae"):
        sae_from_bytes(trainee_to_bytes(one))


def test_a_state_of_another_configuration_is_refused_and_changes_nothing():
    other = trainee(lr=0.5)
    before = other.state()
    with pytest.raises(ValueError, match=r"another configuration: lr differ"):
        restore_trainee(other, trainee_to_bytes(trainee()))
    assert all(torch.equal(before[name], value) for name, value in other.state().items())


def test_equal_saes_are_equal_bytes():
    assert sae_to_bytes(trainee().sae) == SAE_BYTES
