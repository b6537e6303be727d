"""When the rate is constant, when it decays, and where the curve's points lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Leg:
    """A stretch of training steps: on the trunk, or on a decay branch off it.

    first, last: global batch numbers, [first, last). point: the branch's number, None on the trunk.
    """

    first: int
    last: int
    point: int | None


@dataclass(frozen=True)
class Schedule:
    """A constant-rate trunk with a decay branch at each of geometrically spaced points.

    p_i = first_point * (last_point / first_point)^(i / (points - 1)) batches of trunk, then a
    branch of branch_share * p_i batches over which the rate falls linearly to 0; the last branch,
    which ends at batch `batches` and is the shipped model, takes final_share * p_last.

    Reference: Hägele et al. 2024, section 3 (constant rate and cooldown in place of many runs).
    """

    batches: int
    first_point: int
    points: int = 14
    warmup: int = 80
    branch_share: float = 0.10
    final_share: float = 0.20

    def point_batches(self) -> list[int]:
        """Trunk batches at which each branch leaves, ascending."""
        last = round(self.batches / (1 + self.final_share))
        ratio = last / self.first_point
        return [
            round(self.first_point * ratio ** (i / (self.points - 1))) for i in range(self.points)
        ]

    def legs(self) -> Iterator[Leg]:
        """Trunk leg, branch leg, trunk leg, ... in the order they are trained."""
        start = 0
        for point, leave in enumerate(self.point_batches()):
            yield Leg(start, leave, None)
            final = point == self.points - 1
            length = max(1, round(self.branch_share * leave))
            yield Leg(leave, self.batches if final else leave + length, point)
            start = leave

    def rate(self, leg: Leg, batch: int) -> float:
        """The learning rate's factor in [0, 1] at one batch of a leg."""
        warm = min(1.0, (batch + 1) / self.warmup)
        if leg.point is None:
            return warm
        return warm * (leg.last - batch) / (leg.last - leg.first)
