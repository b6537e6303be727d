"""Why a format cannot hold an SAE exactly."""

from __future__ import annotations

from pipeline.errors import ExchangeError
from sae_core.plain import Rule


class CannotHold(ExchangeError):
    """A format has no exact writing of an SAE.

    `rules`: those that the format has for SAEs of this shape, to one of which a near SAE can be
    changed; none where nothing comes near.
    """

    def __init__(self, why: str, rules: tuple[type[Rule], ...] = ()) -> None:
        super().__init__(why)
        self.rules = rules
