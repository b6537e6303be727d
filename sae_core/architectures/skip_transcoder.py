"""Skip transcoder: a transcoder beside a linear map from the input to the output.

Idea: what the computation does linearly needs no latents; they are left for the rest.
Formula: as the transcoder, with s' ŷ = W_decᵀ a + b_dec + W_skipᵀ s x, W_skip starting at 0.
Reference: Paulo, Shabalin and Belrose, "Transcoders beat sparse autoencoders for interpretability"
(2025).
Ours differs: as the transcoder's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from sae_core.architectures.transcoder import TranscoderConfig, TranscoderSae
from sae_core.code import SparseCode
from sae_core.loss_terms import Activity, LossTerms
from sae_core.plain import PlainSae
from sae_core.topk_losses import topk_losses
from sae_core.training_context import TrainingContext


class SkipTranscoderConfig(TranscoderConfig):
    """A skip transcoder's configuration."""

    architecture: Literal["skip_transcoder"] = Field(
        "skip_transcoder", description="Transcoder with a linear skip."
    )


class SkipTranscoderSae(TranscoderSae):
    """A transcoder with `W_skip` (d, d') from the scaled input to the scaled output."""

    config: SkipTranscoderConfig

    def __init__(
        self, config: SkipTranscoderConfig, *, width: int, further: tuple[int, ...]
    ) -> None:
        super().__init__(config, width=width, further=further)
        self.W_skip = nn.Parameter(torch.zeros(width, self.width))

    @torch.no_grad()
    def plain(self) -> PlainSae | None:
        """The same as plain data, with the skip's map in raw units."""
        made = super().plain()
        scale = self.input_scale.unsqueeze(1) / self.unit
        return made and replace(made, W_skip=self.W_skip.detach() * scale)

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction of y and AuxK, x and y (n, d + d') side by side."""
        seen = self.scaled(x)
        target = self.scaled_target(x)
        return topk_losses(self, seen, target, context, linear=seen @ self.W_skip)

    def reconstruct(self, x: torch.Tensor, code: SparseCode) -> torch.Tensor:
        """ŷ (n, d') from a code and the inputs (n, d) that the skip takes up."""
        return self.decode(code) + self.scaled(x) @ self.W_skip / self.output_scale


CONFIG = SkipTranscoderConfig
SAE = SkipTranscoderSae
