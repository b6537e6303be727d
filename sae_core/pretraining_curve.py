"""An LM's annealed pre-training curve: how good it was at each share of its compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class PretrainingCurve:
    """`flops` (p,) ascending and held-out `losses` (p,) in nats per token, p >= 2 points.

    Raises ValueError for a curve that is too short, unordered, not finite, or never falls.
    """

    flops: tuple[float, ...]
    losses: tuple[float, ...]

    def __post_init__(self) -> None:
        import math

        if len(self.flops) != len(self.losses) or len(self.flops) < 2:
            raise ValueError(
                f"a pre-training curve of {len(self.flops)} compute values and "
                f"{len(self.losses)} losses: it needs as many of both, at least 2."
            )
        if not all(math.isfinite(value) for value in (*self.flops, *self.losses)):
            raise ValueError("a pre-training curve must be finite: leave out unmeasured points.")
        rising = all(a < b for a, b in zip(self.flops, self.flops[1:], strict=False))
        if self.flops[0] <= 0 or not rising:
            raise ValueError(
                "a pre-training curve's FLOPs must be positive and ascending: sort its points."
            )
        if len(self._falling()[0]) < 2:
            raise ValueError(
                "a pre-training curve must fall: no point lies above all later ones. "
                "Check that its last point is the model itself."
            )

    @property
    def first_share(self) -> float:
        """The smallest share of compute that the curve speaks about."""
        return self._falling()[0][0] / self.flops[-1]

    def share_at(self, increase: Any) -> np.ndarray:
        """The share of compute at which the loss is the last one plus `increase` (any shape).

        log FLOPs are linear in the loss between points. Points that do not lie above all later
        ones are noise and are left out. −inf above the first point, +inf below the last.
        """
        import numpy as np

        flops, losses = (np.asarray(part)[::-1] for part in self._falling())
        increase = np.asarray(increase, dtype=np.float64)
        loss = self.losses[-1] + increase
        share = np.exp(np.interp(loss, losses, np.log(flops / self.flops[-1])))
        share = np.where(loss > losses[-1], -np.inf, share)
        return np.where(increase < 0, np.inf, share)

    def _falling(self) -> tuple[list[float], list[float]]:
        kept, highest = [], float("-inf")
        for flops, loss in zip(reversed(self.flops), reversed(self.losses), strict=True):
            if loss > highest:
                kept.append((flops, loss))
                highest = loss
        kept.reverse()
        return [flops for flops, _ in kept], [loss for _, loss in kept]
