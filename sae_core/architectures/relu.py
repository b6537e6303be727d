"""ReLU with an L1 or Lp penalty.

Idea: every latent with a positive pre-activation is active; a penalty on their sum makes most of
them not positive.
Formula: z = W_enc (s x − b_dec) + b_enc; a = ReLU(z); s x̂ = W_decᵀ a + b_dec with unit decoder
rows; L = mean_n [Σ_d (s x − s x̂)² + λ Σ_i a_i^p], p = 1 by default, λ rising linearly from 0 over
the first share of the budget. At E‖s x‖² = d an active latent's value is of order sqrt(d / L0) and
the L1 penalty takes λ / 2 off it: λ is portable between sources, not between widths d. For p < 1
large values are shrunk less; below `lp_floor` the penalty is linear, since the derivative of a^p is
unbounded at 0.
Reference: Bricken et al., "Towards monosemanticity" (2023), appendix "Advice for training sparse
autoencoders".
Ours differs: dead latents are resampled only where the recipe asks for it; λ warms up (the paper's
is constant); the input is scaled by one number; the encoder starts as the decoder's transpose times
min(1, 2 d / f), with which random directions reconstruct inputs at their own size; p is a choice,
and the penalty is ‖a‖_p^p, not the norm ‖a‖_p.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field

from sae_core.code import SparseCode
from sae_core.config import SaeConfig
from sae_core.loss_terms import Activity, LossTerms, dense_activity
from sae_core.lp_penalty import lp_penalty
from sae_core.packing import code_above
from sae_core.plain import Relu
from sae_core.products import decoded, encoded
from sae_core.reconstruction import reconstruction_loss
from sae_core.sae import Sae
from sae_core.schedule import penalty_factor
from sae_core.training_context import TrainingContext


class ReluConfig(SaeConfig):
    """ReLU's configuration."""

    float32_only: ClassVar[str | None] = None
    architecture: Literal["relu"] = Field("relu", description="ReLU with an L1 or Lp penalty.")
    l1: float = Field(1.0, ge=0, description="λ, the weight of Σ a^p at E‖s x‖² = d.")
    p: float = Field(1.0, gt=0, le=2, description="Exponent of the penalty; 1 is L1.")
    lp_floor: float = Field(
        0.01, gt=0, description="Values below it are penalised linearly where p is not 1."
    )
    l1_warmup_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the budget over which λ rises from 0 (dictionaries in use: 5 %).",
    )

    @property
    def idle_settings(self) -> Mapping[str, str]:
        """Beside L1, the floor of other penalties."""
        floor = {"lp_floor": "p is 1, whose penalty is linear everywhere"} if self.p == 1 else {}
        return {**super().idle_settings, **floor}


class ReluSae(Sae):
    """ReLU with an L1 or Lp penalty."""

    config: ReluConfig

    def encode(self, x: torch.Tensor) -> SparseCode:
        """All latents > 0 of each token: indices and values (n, largest number), raw units."""
        code = code_above(self.centred(x), self.W_enc, self.b_enc, self.b_enc.new_zeros(()))
        return code._replace(values=code.values / self.input_scale)

    def rule(self) -> Relu:
        """All above 0."""
        return Relu()

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and penalty (`l1`, or `lp` for another p) on activations x (n, d)."""
        config = self.config
        scaled = self.scaled(x)
        centred = scaled - self.b_dec.detach()
        dense = encoded(self, centred, self.training_bias()).relu()
        error = scaled - decoded(self, dense)
        measured, total = reconstruction_loss(error, scaled, config.loss_scale, context)
        penalty = lp_penalty(dense, config.p, floor=config.lp_floor)
        terms = {"reconstruction": measured, "l1" if config.p == 1 else "lp": penalty}
        ramp = penalty_factor(config.l1_warmup_share, progress=context.progress)
        total = total + ramp * config.l1 * penalty
        return LossTerms(total, terms, error.detach()), dense_activity(dense.detach())

    def encoder_gain(self) -> float:
        """Half of random latents are active: with this gain their sum has the input's size."""
        return min(1.0, 2 * self.width / self.n_latents)


CONFIG = ReluConfig
SAE = ReluSae
