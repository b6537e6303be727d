"""What a match of dictionaries would score if there were nothing to find."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from sae_core.metrics.match_metric import SHARED_AT

DRAWS = 10
_ROWS, _BLOCK = 1024, 2048


@dataclass(frozen=True)
class Null:
    """MMCS over draws of a dictionary without meaning: mean and standard deviation.

    `shared[τ]`: mean and standard deviation of the share of rows whose best cosine reaches τ.
    """

    mean: float
    deviation: float
    shared: dict[float, tuple[float, float]]

    def z(self, mmcs: float) -> float | None:
        """How many standard deviations of the draws an MMCS lies above their mean; None for 0."""
        return _z(mmcs, self.mean, self.deviation)


@dataclass(frozen=True)
class BothWays:
    """A null from a (f, d) to a meaningless b, and from b (g, d) to a meaningless a."""

    ab: Null
    ba: Null
    f: int
    g: int

    def shared_at_most(self, tau: float) -> float:
        """Mean share of one-to-one pairs of cosine >= τ that draws allow at most: see _bound."""
        return self._bound(tau)[0]

    def shared_z(self, tau: float, shared: float) -> float | None:
        """Deviations by which a shared fraction lies above what draws allow at most.

        The true z-score is at least this large; None where draws do not differ.
        """
        return _z(shared, *self._bound(tau))

    def _bound(self, tau: float) -> tuple[float, float]:
        """No pairing shares more rows than reach τ at all, on the side that has fewer of these."""
        sides = ((self.ab, self.f), (self.ba, self.g))
        scaled = ((null.shared[tau], n / min(self.f, self.g)) for null, n in sides)
        return min((mean * by, deviation * by) for (mean, deviation), by in scaled)


def random_both_ways(a: torch.Tensor, b: torch.Tensor, *, seed: int) -> BothWays:
    """Directions drawn evenly from the sphere in place of b, and in place of a."""
    ab, ba = random_directions(a, len(b), seed=seed), random_directions(b, len(a), seed=seed)
    return BothWays(ab, ba, len(a), len(b))


def permuted_both_ways(a: torch.Tensor, b: torch.Tensor, *, seed: int) -> BothWays:
    """b with its coordinates in another order, and a with them."""
    ab, ba = permuted_coordinates(a, b, seed=seed), permuted_coordinates(b, a, seed=seed)
    return BothWays(ab, ba, len(a), len(b))


def _z(value: float, mean: float, deviation: float) -> float | None:
    return (value - mean) / deviation if deviation > 0 else None


def random_directions(a: torch.Tensor, n: int, *, seed: int) -> Null:
    """b is n directions drawn evenly from the sphere. Draws in blocks of 2048 directions."""
    generator = torch.Generator().manual_seed(seed)

    def block(start: int) -> torch.Tensor:
        shape = (min(_BLOCK, n - start), a.shape[1])
        return normalize(torch.randn(shape, generator=generator)).to(a.device, a.dtype)

    return _null(a, [lambda: map(block, range(0, n, _BLOCK))] * DRAWS)


def permuted_coordinates(a: torch.Tensor, b: torch.Tensor, *, seed: int) -> Null:
    """b is itself with its d coordinates in another order, the same for all of its rows.

    Its rows keep their cosines with each other and their entries; what they share with a is gone,
    but for what a few large coordinates alone would give.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(a.shape[1], generator=generator) for _ in range(DRAWS)]
    return _null(
        a,
        [
            lambda order=order: (part[:, order.to(b.device)] for part in b.split(_BLOCK))
            for order in orders
        ],
    )


def _null(a: torch.Tensor, draws: list) -> Null:
    """Every draw is blocks of unit rows; of a at most 1024 rows, spread evenly, stand for all.

    Only a's side is asked for, and not which row it is: a product and its maxima, at half the
    price of `max_cosine`.
    """
    rows = a[torch.arange(min(_ROWS, len(a)), device=a.device) * len(a) // min(_ROWS, len(a))]
    best = []
    for draw in draws:
        values = [(rows @ block.T).amax(1) for block in draw()]
        best.append(torch.stack(values).amax(0).double())
    found = torch.stack(best)
    return Null(
        mean=float(found.mean()),
        deviation=float(found.mean(1).std()),
        shared={tau: _mean_and_deviation((found >= tau).double().mean(1)) for tau in SHARED_AT},
    )


def _mean_and_deviation(draws: torch.Tensor) -> tuple[float, float]:
    return float(draws.mean()), float(draws.std())
