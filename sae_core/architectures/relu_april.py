"""ReLU with decoder norms in the penalty (the "April update").

Idea: without a penalty on norms an L1 penalty is met by small activations and large decoder rows;
weighing each activation by its row's norm closes that way, and the rows may be as long as they
like.
Formula: z = W_enc s x + b_enc; a = ReLU(z); s x̂ = W_decᵀ a + b_dec with rows d_i of any norm;
L = mean_n [Σ_d (s x − s x̂)² + λ Σ_i a_i ‖d_i‖], λ rising linearly from 0 over the first 5 % of the
budget. No b_dec is subtracted from the input. Starts with rows of norm 0.1, encoder = decoder
transpose, biases 0.
Reference: Conerly et al., "Update on how we train SAEs", in "Circuits updates: April 2024"
(Transformer Circuits, 2024).
Ours differs: inputs are scaled to E‖s x‖² = d (there: E‖s x‖ = sqrt(d)); gradients are clipped per
latent (there: together, at 1, which is `clip_by: global`); the learning rate is this package's
default (there: 5e-5).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from sae_core.code import SparseCode
from sae_core.config import SaeConfig
from sae_core.loss_terms import Activity, LossTerms, dense_activity
from sae_core.packing import code_above
from sae_core.plain import Relu
from sae_core.products import decoded, encoded
from sae_core.reconstruction import reconstruction_loss
from sae_core.sae import Sae
from sae_core.schedule import penalty_factor
from sae_core.training_context import TrainingContext


class ReluAprilConfig(SaeConfig):
    """The April update's configuration; learning rate and windows as everywhere."""

    float32_only: ClassVar[str | None] = None
    architecture: Literal["relu_april"] = Field(
        "relu_april", description="ReLU with a penalty on activation times decoder norm."
    )
    l1: float = Field(5.0, ge=0, description="λ, the weight of Σ a ‖d‖ at E‖s x‖² = d.")
    l1_warmup_share: float = Field(
        0.05, ge=0, le=1, description="Share of the budget over which λ rises from 0."
    )
    warmup_share: float = Field(
        0.0, ge=0, le=1, description="Share of the budget over which lr rises linearly (paper: 0)."
    )
    bias_init: Literal["geometric_median", "mean", "zero"] = Field(
        "zero", description="Where b_dec starts, from the source's statistics (paper: zero)."
    )


class ReluAprilSae(Sae):
    """ReLU with decoder norms in the penalty."""

    config: ReluAprilConfig
    unit_decoder = False
    subtracts_bias = False

    def encode(self, x: torch.Tensor) -> SparseCode:
        """All latents > 0 of each token: indices and values (n, largest number), raw units."""
        code = code_above(self.scaled(x), self.W_enc, self.b_enc, self.b_enc.new_zeros(()))
        return code._replace(values=code.values / self.input_scale)

    def rule(self) -> Relu:
        """All above 0."""
        return Relu()

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and `l1`, mean_n Σ a ‖d‖, on activations x (n, d)."""
        scaled = self.scaled(x)
        dense = encoded(self, scaled, self.b_enc).relu()
        error = scaled - decoded(self, dense)
        measured, total = reconstruction_loss(error, scaled, self.config.loss_scale, context)
        norms = torch.linalg.vector_norm(self.W_dec, dim=1)
        terms = {"reconstruction": measured, "l1": dense.sum(0) @ norms / len(x)}
        ramp = penalty_factor(self.config.l1_warmup_share, progress=context.progress)
        total = total + ramp * self.config.l1 * terms["l1"]
        return LossTerms(total, terms, error.detach()), dense_activity(dense.detach())

    def encoder_gain(self) -> float:
        """0.1."""
        return 0.1

    def decoder_gain(self) -> float:
        """0.1."""
        return 0.1


CONFIG = ReluAprilConfig
SAE = ReluAprilSae
