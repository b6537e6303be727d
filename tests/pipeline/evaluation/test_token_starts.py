"""Starts cut a text into its tokens, also where tokens are pieces of characters."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipeline.evaluation.token_starts import token_starts


class Bytes:
    """A tokenizer whose tokens are given runs of bytes."""

    def __init__(self, *tokens: bytes) -> None:
        self.tokens = tokens

    def decode(self, ids: Sequence[int], *, clean_up_tokenization_spaces: bool) -> str:
        assert not clean_up_tokenization_spaces
        return b"".join(self.tokens[i] for i in ids).decode(errors="replace")


def pieces(*tokens: bytes) -> list[str]:
    tokenizer, ids = Bytes(*tokens), list(range(len(tokens)))
    text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    (starts,) = token_starts(tokenizer, [ids], [text])  # type: ignore[arg-type]
    assert len(starts) == len(tokens)
    assert starts[0] == 0
    ends = [*starts[1:], len(text)]
    found = [text[a:b] for a, b in zip(starts, ends, strict=True)]
    assert "".join(found) == text
    return found


def test_whole_tokens_are_cut_where_they_meet() -> None:
    assert pieces(b"def", b" f", b"(", b"\n") == ["def", " f", "(", "\n"]


@pytest.mark.parametrize("character", ["é", "汉", "𝒳"])
def test_a_character_in_pieces_belongs_to_one_token(character: str) -> None:
    whole = character.encode()
    found = pieces(b"a", *(whole[i : i + 1] for i in range(len(whole))), b"b")
    assert (found[0], found[-1]) == ("a", "b")
    assert sorted(found[1:-1]) == [""] * (len(whole) - 1) + [character]


def test_a_text_that_begins_and_ends_within_a_character_is_still_cut() -> None:
    assert pieces("é".encode()[1:], b"ab", b"c", "é".encode()[:1]) == ["�", "ab", "c", "�"]


def test_each_list_has_its_own_starts() -> None:
    tokenizer = Bytes(b"ab", b"c")
    found = token_starts(tokenizer, [[0, 1], [1, 0], [0, 1]], ["abc", "cab", "abc"])  # type: ignore[arg-type]
    assert found == [[0, 2], [0, 1], [0, 2]]
