"""Latents selected over a whole batch in training, by one threshold for all of them afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from sae_kernels import RaggedCode, linear_batch_topk
from torch.nn.functional import linear

from sae_core.auxk import AuxKConfig
from sae_core.code import SparseCode
from sae_core.loss_terms import Activity, activity_of
from sae_core.packing import packed
from sae_core.sae import Sae
from sae_core.threshold import solve_threshold
from sae_core.training_context import TrainingContext


class BatchSelectionConfig(AuxKConfig):
    """What the configurations share whose batches keep their n·k largest latents."""

    needs_whole_batch: ClassVar[str | None] = "a batch keeps the n·k largest of all its entries"

    k: int = Field(ge=1, description="Active latents per token on average.")
    threshold_beta: float = Field(
        0.999, ge=0, lt=1, description="Decay of the threshold's moving average over batches."
    )


class Selection(NamedTuple):
    """What a batch keeps: detached encoder inputs `centred` (n, d), the code, its activity."""

    centred: torch.Tensor
    code: RaggedCode
    activity: Activity


def add_threshold(sae: Sae) -> None:
    """Gives the SAE its buffers.

    `threshold` θ in units of s x, NaN before calibration; `threshold_sum` and `threshold_weight`,
    a moving average over training batches and the weight it has gathered.
    """
    sae.register_buffer("threshold", torch.full((), torch.nan))
    sae.register_buffer("threshold_sum", torch.zeros(()))
    sae.register_buffer("threshold_weight", torch.zeros(()))


def select(sae: Sae, scaled: torch.Tensor, context: TrainingContext) -> Selection:
    """The n·k largest pre-activations > 0 of a batch s x (n, d), differentiable."""
    centred = scaled - sae.b_dec.detach()
    count = len(scaled) * sae.config.k_at(context.progress)
    code = linear_batch_topk(centred, sae.W_enc, sae.training_bias(), count)
    values = code.values.detach()
    return Selection(
        centred, code, activity_of(code.columns, values, n=len(scaled), f=sae.n_latents)
    )


def encode_above_threshold(sae: Sae, x: torch.Tensor) -> SparseCode:
    """All latents above θ of each token: indices and values (n, largest number), raw units.

    Raises ValueError before calibration.
    """
    if sae.threshold.isnan():
        raise ValueError(
            f"this {sae.config.architecture} SAE has no inference threshold yet. It is set from "
            "calibration activations. Call calibrate(batches) first."
        )
    z = _pre_activations(sae, x)
    code = packed(z.masked_fill(z <= sae.threshold, 0.0))
    return code._replace(values=code.values / sae.input_scale)


@torch.no_grad()
def calibrate_threshold(sae: Sae, batches: Iterable[torch.Tensor]) -> None:
    """Sets θ so that on these activations (n, d) a token has k latents above it on average."""
    solved = solve_threshold(lambda x: _pre_activations(sae, x), batches, sae.config.k)
    sae.threshold.copy_(solved)


@torch.no_grad()
def move_estimate(sae: Sae, activity: Activity, healthy: torch.Tensor) -> None:
    """Moves the training estimate of θ towards the batch's smallest kept value."""
    usable = healthy & activity.smallest.isfinite()
    step = torch.where(usable, 1 - sae.config.threshold_beta, 0.0)
    smallest = torch.where(usable, activity.smallest, 0.0)
    sae.threshold_sum.lerp_(smallest, step)
    sae.threshold_weight.lerp_(torch.ones_like(step), step)


def estimated_threshold(sae: Sae) -> torch.Tensor:
    """Bias-corrected moving average of each batch's smallest kept value, 0-d; NaN if none."""
    return sae.threshold_sum / sae.threshold_weight


def _pre_activations(sae: Sae, x: torch.Tensor) -> torch.Tensor:
    return linear(sae.centred(x), sae.W_enc, sae.b_enc)
