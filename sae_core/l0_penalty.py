"""The penalty on the number of active latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from sae_core.config import SaeConfig


def l0_penalty(l0: torch.Tensor, target: float | None) -> torch.Tensor:
    """L0 (0-d) itself, or with a target L0* the squared distance (L0 − L0*)² / L0*.

    `l0` is a batch's mean number of active latents per token: the distance is of the mean, so that
    single tokens may use more or fewer.
    """
    return l0 if target is None else (l0 - target).square() / target


def l0_price(l0: torch.Tensor, target: float | None) -> torch.Tensor:
    """What one active latent more per token costs (0-d): the derivative of `l0_penalty`."""
    return torch.ones_like(l0) if target is None else 2 * (l0 / target - 1)


def check_target(config: SaeConfig, penalty: str, target: float | None) -> None:
    """Nothing where the target belongs to the penalty and can be met; ValueError otherwise."""
    n_latents = config.n_latents
    if penalty != "target_l0":
        if target is not None:
            raise ValueError(
                f"target_l0 = {target} with penalty {penalty!r}. Allowed: a target with penalty "
                "'target_l0' alone. Remove target_l0, or choose that penalty."
            )
    elif target is None or target > n_latents:
        given = "without target_l0" if target is None else f"with target_l0 = {target}"
        raise ValueError(
            f"penalty 'target_l0' {given}. Allowed: above 0 and at most "
            f"n_latents = {n_latents}. Set target_l0 to the wanted active latents per token."
        )
    elif config.micro_batch is not None:
        raise ValueError(
            f"penalty 'target_l0' with micro_batch {config.micro_batch}. Allowed: none, for the "
            "distance is of the whole batch's mean. Remove micro_batch, or lower batch_size."
        )


def one_rank_only(penalty: str) -> str | None:
    """Why a batch cannot be divided among ranks under this penalty; None where it can."""
    if penalty == "target_l0":
        return "the distance to target_l0 is of the whole batch's mean"
    return None
