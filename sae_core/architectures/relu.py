"""ReLU with an L1 penalty.

Idea: every latent with a positive pre-activation is active; a penalty on their sum makes most of
them not positive.
Formula: z = W_enc (s x − b_dec) + b_enc; a = ReLU(z); s x̂ = W_decᵀ a + b_dec with unit decoder
rows; L = mean_n [Σ_d (s x − s x̂)² + λ Σ_i a_i], λ rising linearly from 0 over the first share of
the budget. At E‖s x‖² = d an active latent's value is of order sqrt(d / L0) and the penalty takes
λ / 2 off it: λ is portable between sources, not between widths d.
Reference: Bricken et al., "Towards monosemanticity" (2023), appendix "Advice for training sparse
autoencoders".
Ours differs: dead latents are resampled only where the recipe asks for it; λ warms up (the paper's
is constant); the input is scaled by one number; the encoder starts as the decoder's transpose times
min(1, 2 d / f), with which random directions reconstruct inputs at their own size.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch.nn.functional import linear

from sae_core.code import SparseCode
from sae_core.config import SaeConfig
from sae_core.loss_terms import Activity, LossTerms
from sae_core.packing import packed
from sae_core.products import decoded, encoded
from sae_core.reconstruction import reconstruction_loss
from sae_core.sae import Sae
from sae_core.schedule import penalty_factor
from sae_core.training_context import TrainingContext


class ReluConfig(SaeConfig):
    """ReLU's configuration."""

    float32_only: ClassVar[str | None] = None
    architecture: Literal["relu"] = Field("relu", description="ReLU with an L1 penalty.")
    l1: float = Field(1.0, ge=0, description="λ, the weight of Σ a at E‖s x‖² = d.")
    l1_warmup_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the budget over which λ rises from 0 (dictionaries in use: 5 %).",
    )


class ReluSae(Sae):
    """ReLU with an L1 penalty."""

    config: ReluConfig

    def encode(self, x: torch.Tensor) -> SparseCode:
        """All latents > 0 of each token: indices and values (n, largest number), raw units."""
        z = linear(self.centred(x), self.W_enc, self.b_enc)
        code = packed(z.relu())
        return code._replace(values=code.values / self.input_scale)

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and L1 on activations x (n, d)."""
        scaled = self.scaled(x)
        centred = scaled - self.b_dec.detach()
        dense = encoded(self, centred, self.training_bias()).relu()
        error = scaled - decoded(self, dense)
        measured, total = reconstruction_loss(error, scaled, self.config.loss_scale, context)
        terms = {"reconstruction": measured, "l1": dense.sum() / len(x)}
        ramp = penalty_factor(self.config.l1_warmup_share, progress=context.progress)
        total = total + ramp * self.config.l1 * terms["l1"]
        return LossTerms(total, terms, error.detach()), _dense_activity(dense.detach())

    def encoder_gain(self) -> float:
        """Half of random latents are active: with this gain their sum has the input's size."""
        return min(1.0, 2 * self.width / self.n_latents)


def _dense_activity(dense: torch.Tensor) -> Activity:
    on = dense > 0
    return Activity(on.any(0), on.sum() / dense.shape[0], dense.new_full((), torch.inf))


CONFIG = ReluConfig
SAE = ReluSae
