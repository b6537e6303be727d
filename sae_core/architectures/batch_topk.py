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
from sae_kernels import ragged_decode

from sae_core import batch_selection
from sae_core.auxk import with_auxk
from sae_core.batch_selection import BatchSelectionConfig
from sae_core.code import SparseCode
from sae_core.loss_terms import Activity, LossTerms
from sae_core.reconstruction import reconstruction_loss
from sae_core.sae import Sae
from sae_core.training_context import TrainingContext


class BatchTopKConfig(BatchSelectionConfig):
    """BatchTopK's configuration."""

    architecture: Literal["batch_topk"] = Field("batch_topk", description="BatchTopK.")


class BatchTopKSae(Sae):
    """BatchTopK with AuxK and a calibrated inference threshold."""

    config: BatchTopKConfig

    def __init__(self, config: BatchTopKConfig, *, width: int) -> None:
        super().__init__(config, width=width)
        batch_selection.add_threshold(self)

    @property
    def estimated_threshold(self) -> torch.Tensor:
        """Bias-corrected moving average of each batch's smallest kept value, 0-d; NaN if none."""
        return batch_selection.estimated_threshold(self)

    def encode(self, x: torch.Tensor) -> SparseCode:
        """All latents above θ of each token, raw units; raises ValueError before calibrate."""
        return batch_selection.encode_above_threshold(self, x)

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and AuxK on activations x (n, d)."""
        scaled = self.scaled(x)
        centred, code, activity = batch_selection.select(self, scaled, context)
        error = scaled - ragged_decode(code, self.W_dec, self.b_dec)
        measured, total = reconstruction_loss(error, scaled, self.config.loss_scale, context)
        loss = LossTerms(total, {"reconstruction": measured})
        return with_auxk(
            self, loss, centred=centred, error=error, activity=activity, context=context
        ), activity

    def observe(self, activity: Activity, healthy: torch.Tensor) -> None:
        """Moves the training estimate of the threshold."""
        batch_selection.move_estimate(self, activity, healthy)

    def calibrate(self, batches: Iterable[torch.Tensor]) -> None:
        """Sets θ so that on these activations (n, d) a token has k latents above it on average."""
        batch_selection.calibrate_threshold(self, batches)


CONFIG = BatchTopKConfig
SAE = BatchTopKSae
