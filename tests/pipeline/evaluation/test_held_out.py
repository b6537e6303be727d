from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.evaluation.held_out import read_held_out


@dataclass
class Packed:
    """A corpus of rows of 8 tokens; token 0 is special and ends each document of 12 tokens."""

    rows: int
    context: int = 8
    special_ids: frozenset[int] = frozenset({0})
    asked: list[tuple[int, int]] = field(default_factory=list)

    def n_rows(self, split: str) -> int:
        assert split == "held_out"
        return self.rows

    def tokens(self, split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append((start, stop))
        position = np.arange(start * 8, stop * 8).reshape(-1, 8)
        tokens = np.where(position % 12 == 11, 0, 1 + position % 5)
        return tokens.astype(np.int32), (position // 12 + 40).astype(np.int32)


@pytest.mark.parametrize("asked", [1, 8, 22, 23, 100])
def test_whole_rows_are_taken_until_the_tokens_are_there(asked: int) -> None:
    text = read_held_out(Packed(50), asked)
    assert asked <= text.n_tokens <= text.tokens.size < asked + 3 * 8 + asked // 8


def test_rows_are_spread_over_the_split_so_that_documents_are_many() -> None:
    corpus = Packed(90)
    assert len(read_held_out(corpus, 60).documents) >= 8
    starts = [start for start, _ in corpus.asked]
    assert max(starts) >= 70
    assert len(set(np.diff(starts[-8:]))) <= 2


def test_all_there_is_is_taken_where_it_is_less() -> None:
    assert read_held_out(Packed(5), 10_000).tokens.shape == (5, 8)


def test_documents_are_numbered_by_appearance() -> None:
    text = read_held_out(Packed(6), 48)
    assert text.documents.tolist() == [40, 41, 42, 43]
    assert np.array_equal(text.documents[text.document_index[2]], [41] * 8)


def test_batches_are_the_rows_in_order() -> None:
    text = read_held_out(Packed(5), 40)
    batches = list(text.batches(2))
    assert [len(batch.tokens) for batch in batches] == [2, 2, 1]
    assert np.array_equal(np.concatenate([b.tokens.numpy() for b in batches]), text.tokens)
    special = np.concatenate([b.special.numpy() for b in batches])
    assert np.array_equal(special, text.tokens == 0)


def test_a_corpus_without_held_out_rows_is_refused() -> None:
    with pytest.raises(UserError, match="no held-out rows"):
        read_held_out(Packed(0), 10)
