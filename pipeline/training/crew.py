"""The processes that train a group together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sae_core.ranks import ALONE, Ranks

ONE_PROCESS = "1 process"


@dataclass(frozen=True)
class Crew:
    """The processes that train a group, and what they divide: `split` tokens or latents.

    All do the same; only the first one writes.
    """

    ranks: Ranks = ALONE
    split: Literal["tokens", "latents"] = "tokens"

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes."""
        return self.ranks.index == 0

    @property
    def way(self) -> str:
        """What the provenance of their SAEs says of them."""
        if self.ranks.size == 1:
            return ONE_PROCESS
        return f"{self.ranks.size} ranks by {self.split}"
