"""Where in an example's text its token stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Place = tuple[int, int]


def token_place(
    text: str, token: str, ids: Sequence[int], offset: int, vocabulary: Mapping[int, str]
) -> Place | None:
    """Start and end, in characters of `text`, of the token `ids[offset]`; None where unknown.

    The lengths of the tokens after it tell, or of those before it, where their texts are in the
    vocabulary and really are what stands there. Else a text that holds the token once tells.
    """
    before = _joined(ids[:offset], vocabulary)
    after = _joined(ids[offset + 1 :], vocabulary)
    if after is not None and text.endswith(token + after):
        start = len(text) - len(after) - len(token)
        return start, start + len(token)
    if before is not None and text.startswith(before + token):
        return len(before), len(before) + len(token)
    if token and text.count(token) == 1:
        start = text.index(token)
        return start, start + len(token)
    return None


def _joined(ids: Sequence[int], vocabulary: Mapping[int, str]) -> str | None:
    texts = [vocabulary.get(one) for one in ids]
    return None if None in texts else "".join(map(str, texts))
