"""The n-gram baseline: solved by hand, and a distribution everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.embedded.kneser_ney import KneserNey

# Bigrams: 01 twice; 10, 02, 20, 13, 31 once, so D_2 = 5 / (5 + 2) = 5/7. Left neighbours:
# 0 and 1 have two, 2 and 3 have one, so D_1 = 2 / (2 + 4) = 1/3 and p_1 = 1/3, 1/3, 1/6, 1/6.
STREAM = np.array([0, 1, 0, 2, 0, 1, 3, 1])


def test_bigram_probabilities_equal_those_solved_by_hand():
    model = KneserNey(STREAM, vocab=4, order=2)
    after_0 = model.probabilities(np.arange(4), np.zeros((4, 1), int))
    assert after_0 == pytest.approx([10 / 63, 37 / 63, 11 / 63, 5 / 63])


def test_unigram_below_a_bigram_counts_left_neighbours():
    model = KneserNey(STREAM, vocab=4, order=2)
    after_2 = model.probabilities(np.arange(4), np.full((4, 1), 2))
    own, back = 1 - 5 / 7, 5 / 7
    expected = [own + back / 3, back / 3, back / 6, back / 6]
    assert after_2 == pytest.approx(expected)


def test_an_unseen_context_falls_back_to_the_shorter_one():
    stream = np.array([0, 1, 0, 2, 0, 1, 3, 1, 2])
    model = KneserNey(stream, vocab=8, order=3)
    tokens = np.arange(8)
    never = model.probabilities(tokens, np.tile([7, 0], (8, 1)))
    also_never = model.probabilities(tokens, np.tile([6, 0], (8, 1)))
    assert never == pytest.approx(also_never)
    assert never[1] > never[3]


def test_loss_is_the_mean_of_minus_log_probability():
    model = KneserNey(STREAM, vocab=4, order=2)
    expected = -(math.log(37 / 63) + math.log(11 / 63)) / 2
    pair = (model.loss_nats(np.array([0, 1])) + model.loss_nats(np.array([0, 2]))) / 2
    assert pair == pytest.approx(expected)
    stream = np.array([0, 1, 3, 1, 0, 2])
    contexts, targets = stream[:-1, None], stream[1:]
    assert model.loss_nats(stream, at_once=2) == pytest.approx(
        -np.log(model.probabilities(targets, contexts)).mean()
    )


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_sum_to_one_after_seen_and_unseen_contexts(order):
    draws = np.random.default_rng(order)
    stream = (draws.integers(0, 9, 3000) * draws.integers(0, 2, 3000)).astype(np.int32)
    model = KneserNey(stream, vocab=11, order=order)
    windows = [stream[i : i + order - 1] for i in range(5)]
    windows += [draws.integers(0, 11, order - 1) for _ in range(20)]
    for context in windows:
        p = model.probabilities(np.arange(11), np.tile(context, (11, 1)).astype(int))
        assert p.min() > 0
        assert p.sum() == pytest.approx(1.0, abs=1e-12)


def test_a_longer_order_predicts_a_repeating_text_better():
    stream = np.tile(np.random.default_rng(0).integers(0, 6, 40), 50)
    losses = [KneserNey(stream, vocab=6, order=k).loss_nats(stream) for k in (1, 2, 4)]
    assert losses[0] > losses[1] > losses[2]


def test_a_vocabulary_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at most 63"):
        KneserNey(STREAM, vocab=50_000, order=5)
    with pytest.raises(ValueError, match=r"in \[0, 3\)"):
        KneserNey(STREAM, vocab=3, order=2)
