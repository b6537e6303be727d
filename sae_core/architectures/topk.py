"""TopK: each token keeps its k largest latents.

Idea: sparsity is set, not penalised: no shrinkage of activations, and L0 = k by construction
(less where fewer than k are positive).
Formula: z = W_enc (s x − b_dec) + b_enc; a = ReLU(z) on the k largest z, 0 elsewhere;
s x̂ = W_decᵀ a + b_dec; L = mean_n Σ_d (s x − s x̂)² + w · V · AuxK, V the inputs' total variance,
AuxK the share of the residual's variance that dead latents leave (auxiliary_loss.py), w = 1/32.
Reference: Gao et al., "Scaling and evaluating sparse autoencoders" (2024), sections 2.3 and A.2.
Ours differs: both terms are multiplied by V (the paper divides the first by it: same ratio, and
here the same units as other architectures); a latent fires where its value is > 0 (the paper's
code: > 1e-3); inputs are scaled by one number, not normalised per token; gradients are clipped
per latent; AuxK's 10 M tokens become min(10 M, 10 % of the budget); Adam's ε is 1e-8 (the paper's
6.25e-10): gradients of a loss that is not divided by V are about d times larger.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from sae_kernels import linear_topk

from sae_core.auxk import AuxKConfig
from sae_core.code import SparseCode
from sae_core.loss_terms import Activity, LossTerms
from sae_core.plain import TopK
from sae_core.sae import Sae
from sae_core.topk_losses import topk_losses
from sae_core.training_context import TrainingContext


class TopKConfig(AuxKConfig):
    """TopK's configuration."""

    architecture: Literal["topk"] = Field("topk", description="TopK.")


class TopKSae(Sae):
    """TopK with AuxK."""

    config: TopKConfig

    def encode(self, x: torch.Tensor) -> SparseCode:
        """The k largest latents of each token: indices and values (n, k), raw units."""
        indices, values = linear_topk(self.centred(x), self.W_enc, self.b_enc, self.config.k)
        return SparseCode(indices, values / self.input_scale, self.n_latents)

    def rule(self) -> TopK:
        """The k largest."""
        return TopK(self.config.k)

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and AuxK on activations x (n, d)."""
        scaled = self.scaled(x)
        return topk_losses(self, scaled - self.b_dec.detach(), scaled, context)


CONFIG = TopKConfig
SAE = TopKSae
