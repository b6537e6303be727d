"""How the learning rate moves over a run."""

from __future__ import annotations

from sae_core.config import SaeConfig


def lr_factor(config: SaeConfig, *, seen: int, n: int) -> float:
    """The factor on the highest learning rate for a step of n tokens after `seen` tokens.

    Rises linearly over the first `warmup_share` of the budget, falls linearly to 0 over the last
    `decay_share`; never 0 for a step within the budget.
    """
    warmup = config.warmup_share * config.tokens
    decay = config.decay_share * config.tokens
    rise = min(1.0, (seen + n) / warmup) if warmup else 1.0
    fall = min(1.0, max(0.0, (config.tokens - seen) / decay)) if decay else 1.0
    return min(rise, fall)
