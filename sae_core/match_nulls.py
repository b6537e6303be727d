"""What a match of dictionaries would score if there were nothing to find."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sae_core.metrics.match_metric import SHARED_AT

DRAWS = 10
_ROWS, _BLOCK = 1024, 8192


@dataclass(frozen=True)
class Null:
    """MMCS a→b over draws of a b without meaning: mean and standard deviation.

    `shared_at_most[τ]`: mean share of a's rows whose best cosine reaches τ, which no one-to-one
    pairing can exceed.
    """

    mean: float
    deviation: float
    shared_at_most: dict[float, float]

    def z(self, mmcs: float) -> float | None:
        """How many standard deviations of the draws an MMCS lies above their mean; None for 0."""
        return (mmcs - self.mean) / self.deviation if self.deviation > 0 else None


def random_directions(a: torch.Tensor, n: int, *, seed: int) -> Null:
    """b is n directions drawn evenly from the sphere. Draws in blocks of 8192 directions."""
    generator = torch.Generator().manual_seed(seed)

    def block(start: int) -> torch.Tensor:
        shape = (min(_BLOCK, n - start), a.shape[1])
        return torch.randn(shape, generator=generator).to(a.device, a.dtype)

    return _null(a, [lambda: map(block, range(0, n, _BLOCK))] * DRAWS)


def permuted_coordinates(a: torch.Tensor, b: torch.Tensor, *, seed: int) -> Null:
    """b is itself with its d coordinates in another order, the same for all of its rows.

    Its rows keep their cosines with each other and their entries; what they share with a is gone,
    but for what a few large coordinates alone would give.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(a.shape[1], generator=generator) for _ in range(DRAWS)]
    return _null(a, [lambda order=order: iter([b[:, order.to(b.device)]]) for order in orders])


def _null(a: torch.Tensor, draws: list) -> Null:
    """Every draw is blocks of b's rows; of a at most 1024 rows, spread evenly, stand for all."""
    from sae_kernels import max_cosine

    rows = a[torch.arange(min(_ROWS, len(a)), device=a.device) * len(a) // min(_ROWS, len(a))]
    best = []
    for draw in draws:
        values = [max_cosine(rows, block).value_ab for block in draw()]
        best.append(torch.stack(values).amax(0).double())
    found = torch.stack(best)
    return Null(
        mean=float(found.mean()),
        deviation=float(found.mean(1).std()),
        shared_at_most={tau: float((found >= tau).double().mean()) for tau in SHARED_AT},
    )
