"""Where in a text each of its tokens begins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PART_OF_A_CHARACTER = "�"


def token_starts(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[Sequence[int]], texts: Sequence[str]
) -> list[list[int]]:
    """Characters before each token, for each list of ids and the text it stands for.

    Tokens that are pieces of one character begin and end together with it: the whole character
    belongs to one of them, the others are empty. Starts never descend.
    """
    words: dict[int, str] = {}
    known: dict[tuple[int, ...], list[int]] = {}
    for one, text in zip(map(tuple, ids), texts, strict=True):
        if one not in known:
            for token in set(one) - words.keys():
                words[token] = _decoded(tokenizer, [token])
            known[one] = _starts(tokenizer, one, text, [words[token] for token in one])
    return [known[tuple(one)] for one in ids]


def _starts(
    tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...], text: str, words: Sequence[str]
) -> list[int]:
    if "".join(words) == text:
        return [0, *accumulate(map(len, words[:-1]))]
    befores = [_decoded(tokenizer, ids[:i]) for i in range(len(ids))]
    ends = [
        len(before if text.startswith(before) else before.rstrip(_PART_OF_A_CHARACTER))
        for before in befores
    ]
    return [min(end, len(text)) for end in accumulate(ends, max)]


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))
