"""BatchTopK: a batch keeps its n·k largest latents; tokens may use more or fewer than k.

Idea: k is an average, so hard tokens get more latents than easy ones. A single token cannot be
encoded by a rule about batches, so inference uses one threshold for all latents.
Formula: z = W_enc (s x − b_dec) + b_enc; training: a = z on the n·k largest entries > 0 of the
batch; inference: a = z where z > θ. L as in TopK. θ solves E[L0(θ)] = k on calibration tokens
(`calibrate`). Beside it the training estimate is kept: the bias-corrected moving average of each
batch's smallest kept value.
Reference: Bussmann, Leask and Nanda, "BatchTopK sparse autoencoders" (2024).
Ours differs: θ is solved for (the paper averages the smallest kept values; stored here as
`estimated_threshold`); of equal values the earlier token, then the lower index is kept; encode
refuses to run before calibrate.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from sae_kernels import linear_batch_topk, ragged_decode
from torch.nn.functional import linear

from sae_core.auxiliary_loss import auxk_loss, auxk_width
from sae_core.code import SparseCode
from sae_core.config import ActiveLatentsConfig
from sae_core.loss_terms import Activity, LossTerms, activity_of
from sae_core.packing import packed
from sae_core.reconstruction import loss_unit, reconstruction_loss
from sae_core.sae import Sae
from sae_core.threshold import solve_threshold
from sae_core.training_context import TrainingContext


class BatchTopKConfig(ActiveLatentsConfig):
    """BatchTopK's configuration."""

    architecture: Literal["batch_topk"] = Field("batch_topk", description="BatchTopK.")
    k: int = Field(ge=1, description="Active latents per token on average.")
    k_aux: int | None = Field(
        None, ge=1, description="Dead latents per token in AuxK; none: power of two near d / 2."
    )
    auxk_weight: float = Field(1 / 32, ge=0, description="Weight of AuxK; 0 switches it off.")
    threshold_beta: float = Field(
        0.999, ge=0, lt=1, description="Decay of the threshold's moving average over batches."
    )


class BatchTopKSae(Sae):
    """BatchTopK with AuxK and a calibrated inference threshold.

    Buffers: `threshold` θ in units of s x, NaN before calibrate; `threshold_sum` and
    `threshold_weight`, the moving average and the weight it has gathered.
    """

    config: BatchTopKConfig

    def __init__(self, config: BatchTopKConfig, *, width: int) -> None:
        super().__init__(config, width=width)
        self.register_buffer("threshold", torch.full((), torch.nan))
        self.register_buffer("threshold_sum", torch.zeros(()))
        self.register_buffer("threshold_weight", torch.zeros(()))

    @property
    def estimated_threshold(self) -> torch.Tensor:
        """Bias-corrected moving average of each batch's smallest kept value, 0-d; NaN if none."""
        return self.threshold_sum / self.threshold_weight

    def encode(self, x: torch.Tensor) -> SparseCode:
        """All latents above θ of each token: indices and values (n, largest number), raw units.

        Raises ValueError before calibrate.
        """
        if self.threshold.isnan():
            raise ValueError(
                "this BatchTopK SAE has no inference threshold yet. It is set from calibration "
                "activations. Call calibrate(batches) first."
            )
        z = linear(self.centred(x), self.W_enc, self.b_enc)
        code = packed(z.masked_fill(z <= self.threshold, 0.0))
        return code._replace(values=code.values / self.input_scale)

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and AuxK on activations x (n, d)."""
        scaled = self.scaled(x)
        centred = scaled - self.b_dec.detach()
        count = len(x) * self.config.k_at(context.progress)
        code = linear_batch_topk(centred, self.W_enc, self.training_bias(), count)
        error = scaled - ragged_decode(code, self.W_dec, self.b_dec)
        activity = activity_of(code.columns, code.values.detach(), n=len(x), f=self.n_latents)
        measured, total = reconstruction_loss(error, scaled, self.config.loss_scale, context)
        terms = {"reconstruction": measured}
        if self.config.auxk_weight:
            dead = context.dead_latents(activity.fired, len(x))
            k_aux = self.config.k_aux or auxk_width(self.width)
            terms["auxk"] = auxk_loss(self, centred, error, dead=dead, k_aux=k_aux)
            weight = self.config.auxk_weight * loss_unit(self.config.loss_scale, context)
            total = total + weight * terms["auxk"]
        return LossTerms(total, terms, error.detach()), activity

    @torch.no_grad()
    def observe(self, activity: Activity, healthy: torch.Tensor) -> None:
        """Moves the training estimate of the threshold."""
        usable = healthy & activity.smallest.isfinite()
        step = torch.where(usable, 1 - self.config.threshold_beta, 0.0)
        smallest = torch.where(usable, activity.smallest, 0.0)
        self.threshold_sum.lerp_(smallest, step)
        self.threshold_weight.lerp_(torch.ones_like(step), step)

    @torch.no_grad()
    def calibrate(self, batches: Iterable[torch.Tensor]) -> None:
        """Sets θ so that on these activations (n, d) a token has k latents above it on average."""
        self.threshold.copy_(solve_threshold(self._pre_activations, batches, self.config.k))

    def _pre_activations(self, x: torch.Tensor) -> torch.Tensor:
        return linear(self.centred(x), self.W_enc, self.b_enc)


CONFIG = BatchTopKConfig
SAE = BatchTopKSae
