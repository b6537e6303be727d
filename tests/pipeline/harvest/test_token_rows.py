"""Which tokens are rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import StudyError
from pipeline.harvest import token_rows as module
from pipeline.harvest.token_rows import token_rows
from tests.pipeline.harvest.fake_model import SPECIAL, FakeCorpus


@given(
    rows=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.05, 0.6]),
    seed=st.integers(0, 9),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_rows_are_the_first_tokens_that_are_not_special(
    rows: int, share: float, seed: int, data: st.DataObject
) -> None:
    corpus = FakeCorpus(rows={"train": rows}, context=8, special_share=share, seed=seed)
    ids, documents = (part.ravel() for part in corpus.tokens("train", 0, rows))
    places = np.flatnonzero(ids != SPECIAL)
    if not len(places):
        return
    wanted = data.draw(st.integers(1, len(places)))
    found = token_rows(corpus, "train", tokens=wanted)
    assert found.packed_rows == places[wanted - 1] // 8 + 1
    assert np.array_equal(found.flat(np.arange(wanted)), places[:wanted])
    assert np.array_equal(found.row_of(places[:wanted]), np.arange(wanted))
    same = documents[places[:wanted]]
    assert np.array_equal(np.diff(found.document(places[:wanted])) != 0, np.diff(same) != 0)
    batches = [found.kept(r, r + 1) + r * 8 for r in range(found.packed_rows)]
    assert np.array_equal(np.concatenate(batches), places[:wanted])


def test_counting_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = FakeCorpus()
    whole = token_rows(corpus, "train", tokens=2500)
    monkeypatch.setattr(module, "_BLOCK", 7)
    blocks = token_rows(corpus, "train", tokens=2500)
    assert np.array_equal(whole.special, blocks.special)
    assert np.array_equal(whole.document_starts, blocks.document_starts)
    assert whole.packed_rows == blocks.packed_rows


def test_all_tokens_are_rows_where_no_budget_is_given() -> None:
    corpus = FakeCorpus()
    assert token_rows(corpus, "train", tokens=None).n == corpus.n_tokens("train")


def test_a_budget_beyond_the_split_names_both_numbers() -> None:
    corpus = FakeCorpus()
    with pytest.raises(StudyError, match=rf"1,000,000 tokens .* {corpus.n_tokens('train'):,}"):
        token_rows(corpus, "train", tokens=1_000_000)


def test_a_split_of_special_tokens_only_is_refused() -> None:
    with pytest.raises(StudyError, match="no tokens besides special"):
        token_rows(FakeCorpus(special_share=1.0), "train", tokens=None)
