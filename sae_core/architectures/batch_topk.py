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

from typing import Literal

import torch
from pydantic import Field
from sae_kernels import CodeSort, RaggedCode, ragged_decode

from sae_core.batch_selection import BatchSelectionConfig, BatchSelectionSae
from sae_core.loss_terms import LossTerms
from sae_core.reconstruction import reconstruction_loss
from sae_core.training_context import TrainingContext


class BatchTopKConfig(BatchSelectionConfig):
    """BatchTopK's configuration."""

    architecture: Literal["batch_topk"] = Field("batch_topk", description="BatchTopK.")


class BatchTopKSae(BatchSelectionSae):
    """BatchTopK with AuxK and a calibrated inference threshold."""

    config: BatchTopKConfig

    def reconstruction_of(
        self, scaled: torch.Tensor, code: RaggedCode, context: TrainingContext, *, sort: CodeSort
    ) -> tuple[LossTerms, torch.Tensor]:
        """The whole code's squared error."""
        error = scaled - ragged_decode(code, self.W_dec, self.b_dec, sort=sort)
        measured, total = reconstruction_loss(error, scaled, self.config.loss_scale, context)
        return LossTerms(total, {"reconstruction": measured}), error


CONFIG = BatchTopKConfig
SAE = BatchTopKSae
