"""Shuffled text: each document's piece of a row has its tokens in an order that a key gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus.packed import PackedCorpus
from pipeline.corpus.shuffled import ShuffledCorpus, shuffled_row, text_as_read
from pipeline.study.names import Weights
from tests.pipeline.harvest.fake_model import SPECIAL, FakeCorpus


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> PackedCorpus:
    """A packed corpus whose text is the fake one's."""
    fake = FakeCorpus()
    monkeypatch.setattr(PackedCorpus, "tokens", lambda self, *which: fake.tokens(*which))
    return PackedCorpus(fake.path, {"special_ids": [SPECIAL], "context": fake.context})


def pieces(documents: np.ndarray) -> np.ndarray:
    return np.cumsum(np.diff(documents, prepend=documents[:1]) != 0)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.data())
def test_each_piece_keeps_its_tokens_and_special_ones_their_places(ids, data) -> None:
    n = len(ids)
    ids = np.array(ids, np.int32)
    steps = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    documents, special = np.cumsum(steps), ids < 2
    draws = np.random.default_rng(data.draw(st.integers(0, 99))).random(n)
    found = shuffled_row(ids, documents, special, draws)
    assert np.array_equal(found[special], ids[special])
    for piece in np.unique(pieces(documents)):
        here = pieces(documents) == piece
        assert sorted(found[here]) == sorted(ids[here])
    # By the slow way: each piece's free tokens, sorted by their draws.
    slow = ids.copy()
    for piece in np.unique(pieces(documents)):
        places = [i for i in range(n) if pieces(documents)[i] == piece and not special[i]]
        for place, taken in zip(places, sorted(places, key=lambda i: draws[i]), strict=True):
            slow[place] = ids[taken]
    assert np.array_equal(found, slow)


def test_a_row_is_the_same_wherever_reading_starts(plain: PackedCorpus) -> None:
    shuffled = text_as_read(plain, Weights("shuffled_text", 3))
    whole, documents = shuffled.tokens("train", 0, 20)
    assert np.array_equal(shuffled.tokens("train", 7, 12)[0], whole[7:12])
    assert np.array_equal(documents, plain.tokens("train", 0, 20)[1])
    assert (whole != plain.tokens("train", 0, 20)[0]).mean() > 0.5


def test_seeds_and_splits_are_shuffled_apart(plain: PackedCorpus) -> None:
    def moved(seed: int, split: str) -> np.ndarray:
        before = plain.tokens(split, 0, 9)[0]
        return text_as_read(plain, Weights("shuffled_text", seed)).tokens(split, 0, 9)[0] != before

    orders = [
        text_as_read(plain, Weights("shuffled_text", seed)).tokens("train", 0, 9)[0]
        for seed in (0, 1)
    ]
    assert not np.array_equal(*orders)
    assert not np.array_equal(moved(0, "train"), moved(0, "calibration"))


def test_other_weights_read_the_text_as_it_is(plain: PackedCorpus) -> None:
    for weights in ("trained", "random@1", "gaussian"):
        assert text_as_read(plain, Weights.parse(weights)) is plain
    assert isinstance(text_as_read(plain, Weights("shuffled_text", 0)), ShuffledCorpus)
