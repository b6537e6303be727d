"""The threshold above which a token has k latents on average."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch


def solve_threshold(
    pre_activations: Callable[[torch.Tensor], torch.Tensor],
    batches: Iterable[torch.Tensor],
    k: int,
) -> torch.Tensor:
    """The smallest θ >= 0 (0-d) with mean_n |{i: z_ni > θ}| <= k, z = pre_activations(x).

    `batches` of activations (n, d); of z the entries > 0 are enough, in any shape. Exactly k on
    average where at least k·n entries are positive and none ties with the next. Holds the batches
    and a few times k·n values, never all of z.
    Raises ValueError without any rows.
    """
    kept_batches = [batch for batch in batches if len(batch)]
    n = sum(len(batch) for batch in kept_batches)
    if n == 0:
        raise ValueError(
            "calibration got no activations. Allowed: at least one row. Pass batches (n, d)."
        )
    factor = 4
    while True:
        values, floor = _largest(pre_activations, kept_batches, factor * k)
        if values.numel() <= k * n:
            threshold, exact = values.new_zeros(()), not floor > 0
        else:
            threshold = values.topk(k * n + 1, sorted=True).values[-1]
            exact = bool(threshold >= floor)
        if exact:
            return threshold
        factor *= 2


def _largest(
    pre_activations: Callable[[torch.Tensor], torch.Tensor],
    batches: list[torch.Tensor],
    per_token: int,
) -> tuple[torch.Tensor, float]:
    """The largest positive entries of each batch, `per_token` per token, and a bound.

    Whatever was left out is not above the bound.
    """
    kept, floor = [], 0.0
    for batch in batches:
        positive = pre_activations(batch).reshape(-1)
        positive = positive[positive > 0]
        if positive.numel() > per_token * len(batch):
            positive = positive.topk(per_token * len(batch), sorted=True).values
            floor = max(floor, float(positive[-1]))
        kept.append(positive)
    return torch.cat(kept), floor
