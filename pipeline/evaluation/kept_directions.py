"""Dictionaries that were loaded for a match and may be needed for the next, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sae_core.dictionary_match import Directions

KEPT_BYTES = 2**30


class KeptDirections:
    """Gives an SAE's directions by its id, loading each when it is asked for and not kept.

    The least recently used are dropped until `kept_bytes` hold the rest; the two that were asked
    for last, those of the pair at hand, stay however large they are.
    """

    def __init__(self, load: Callable[[str], Directions], *, kept_bytes: int = KEPT_BYTES) -> None:
        self._load, self._kept_bytes = load, kept_bytes
        self._kept: dict[str, Directions] = {}

    def __call__(self, sae: str) -> Directions:
        """The directions (f, d) of an SAE."""
        found = self._kept.pop(sae, None)
        self._kept[sae] = found or self._load(sae)
        while len(self._kept) > 2 and self.n_bytes > self._kept_bytes:
            del self._kept[next(iter(self._kept))]
        return self._kept[sae]

    @property
    def n_bytes(self) -> int:
        """What is kept, in bytes."""
        return sum(
            part.numel() * part.element_size()
            for one in self._kept.values()
            for part in (one.decoder, one.encoder, one.alive)
        )
