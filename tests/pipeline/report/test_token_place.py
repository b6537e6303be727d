from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.token_place import token_place

WORDS = {0: "a", 1: "aa", 2: "b", 3: "ba", 4: ""}


@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.data())
def test_with_a_known_vocabulary_the_place_is_the_true_one(
    ids: list[int], data: st.DataObject
) -> None:
    offset = data.draw(st.integers(0, len(ids) - 1))
    text = "".join(WORDS[i] for i in ids)
    start = len("".join(WORDS[i] for i in ids[:offset]))
    found = token_place(text, WORDS[ids[offset]], ids, offset, WORDS)
    assert found == (start, start + len(WORDS[ids[offset]]))


def test_the_tokens_before_tell_where_those_after_are_not_known() -> None:
    assert token_place("aab?", "a", [0, 0, 2, 9], 1, WORDS) == (1, 2)


def test_a_text_that_holds_the_token_once_tells() -> None:
    assert token_place("?a?", "a", [8, 0, 9], 1, {}) == (1, 2)


def test_where_nothing_tells_the_place_is_not_known() -> None:
    assert token_place("?aa?", "a", [8, 0, 0, 9], 1, {}) is None


def test_a_vocabulary_that_does_not_fit_the_text_is_not_believed() -> None:
    assert token_place("xa", "a", [2, 0], 1, {0: "a", 2: "bb"}) == (1, 2)
    assert token_place("xaya", "a", [2, 0, 2, 0], 1, {0: "a", 2: "bb"}) is None
