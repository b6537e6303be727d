"""The reconstruction term of every architecture's loss, in the unit that the recipe chooses.

Papers divide the squared error by different things, and everything that stands beside it in the
sum keeps its meaning only under the paper's own choice. Here: λ and other penalty weights are used
as given (the trade-off of `none` needs λ / V under `dataset_variance` and `token_variance`, about
λ / sqrt(V) under `token_deviation`); AuxK's weight is a share of `loss_unit`, so that its ratio to
the reconstruction term stays; `clip` compares with the gradient of the loss as it is, so that the
same cut needs a clip smaller by the same factor as λ. V is about the width d.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from sae_core.config import LossScale
    from sae_core.training_context import TrainingContext

_FLOOR = 1e-3  # share of V: a token nearer to the mean is divided by this much, not by 0


def reconstruction_loss(
    error: torch.Tensor, target: torch.Tensor, scale: LossScale, context: TrainingContext
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is measured, mean_n ‖e‖², and what is minimised, mean_n ‖e‖² / g; both 0-d.

    `error` (n, d) = s x − s x̂, `target` (n, d) = s x. g by `scale`: `none` 1; `dataset_variance`
    V = s² E‖x − x̄‖²; `token_variance` ‖s x − s x̄‖² of each token; `token_deviation` its root.
    A token's ‖s x − s x̄‖² counts as at least V / 1000. Gradient reaches `error` alone.
    Raises ValueError where a token's scale is asked for and the context knows no mean.
    Reference: Gao et al., "Scaling and evaluating sparse autoencoders" (2024), section 2.1 and
    appendix A.1 (dataset variance); the tokens' own scales: EleutherAI's and others' code.
    """
    if scale in ("none", "dataset_variance"):
        measured = error.square().sum() / len(error)
        return measured, measured if scale == "none" else measured / context.total_variance
    squared = error.square().sum(1)
    return squared.mean(), (squared * _token_weights(target, scale, context)).mean()


def minimised_mean(
    squared: torch.Tensor, target: torch.Tensor, scale: LossScale, context: TrainingContext
) -> torch.Tensor:
    """What is minimised where each token's error is given as one number, mean_n squared_n / g.

    `squared` (n,) >= 0 in units of ‖s x‖², `target` (n, d) = s x; g as in `reconstruction_loss`.
    """
    if scale in ("none", "dataset_variance"):
        mean = squared.mean()
        return mean if scale == "none" else mean / context.total_variance
    return (squared * _token_weights(target, scale, context)).mean()


def loss_unit(scale: LossScale, context: TrainingContext) -> float:
    """The minimised term of a reconstruction by the mean x̄: V, 1, 1, and at most sqrt(V)."""
    variance = context.total_variance
    return {
        "none": variance,
        "dataset_variance": 1.0,
        "token_variance": 1.0,
        "token_deviation": variance**0.5,
    }[scale]


def _token_weights(
    target: torch.Tensor, scale: LossScale, context: TrainingContext
) -> torch.Tensor:
    if context.mean is None:
        raise ValueError(
            f"loss_scale is {scale!r}, which needs the source's mean, and this run's context has "
            "none. Allowed: a TrainingContext with `mean`. Train by a Trainee, which gives it."
        )
    variance = (target.detach() - context.mean).square().sum(1)
    variance = variance.clamp(min=_FLOOR * context.total_variance)
    return 1 / (variance if scale == "token_variance" else variance.sqrt())
