"""How learning rate, penalties and k move over a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sae_core.config import SaeConfig


def lr_factor(config: SaeConfig, *, seen: int, n: int) -> float:
    """The factor on the highest learning rate for a step of n tokens after `seen` tokens.

    Rises linearly over the first `warmup_share` of the budget and over `resample_warmup_share`
    after each resampling, falls linearly to 0 over the last `decay_share`; the least of these
    counts, and it is never 0 for a step within the budget.
    """
    warmup = config.warmup_share * config.tokens
    decay = config.decay_share * config.tokens
    rise = min(1.0, (seen + n) / warmup) if warmup else 1.0
    fall = min(1.0, max(0.0, (config.tokens - seen) / decay)) if decay else 1.0
    past = [at for share in config.resample_at if (at := share * config.tokens) <= seen]
    again = config.resample_warmup_share * config.tokens
    rise_again = (seen + n - past[-1]) / again if past and again else 1.0
    return min(rise, fall, rise_again)


def penalty_factor(share: float, *, progress: float) -> float:
    """The factor on a penalty's weight: from 0 linearly to 1 over the first `share` of the budget.

    `progress` is the share of the budget seen before the step. 1 throughout where `share` is 0.
    """
    return min(1.0, progress / share) if share else 1.0


def annealed_k(k: int, *, multiple: float, share: float, progress: float) -> int:
    """Active latents for a step: from `multiple` · k linearly down to k, reached at `share`.

    round(k · (multiple − (multiple − 1) · progress / share)), k from there on, where `progress`
    is the share of the budget seen before the step. k throughout where `share` is 0.
    """
    if progress >= share:
        return k
    return max(k, round(k * (multiple - (multiple - 1) * progress / share)))
