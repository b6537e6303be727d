"""Multi-TopK: TopK that also reconstructs, less heavily weighted, with four times as many latents.

Idea: a TopK dictionary fits one k. Trained at two of them, its code is progressive: the largest k'
latents reconstruct well for every k' up to the larger, and few latents are dead.
Formula: z, a as in TopK, with the m k largest z kept, m = 4; L = L(k) + L(m k) / 8 + AuxK, where
L(k') = mean_n ‖s x − b_dec − Σ_{j ≤ k'} a_j d_{i_j}‖² over the k' largest a_j. One selection serves
both: L(k) is the error of the nested code's first k latents.
Reference: Gao et al., "Scaling and evaluating sparse autoencoders" (2024), section 5.3.
Ours differs: as TopK does; a latent counts as fired, for the dead counters and in L0, where it is
among the k, not the m k; AuxK acts on the residual of the k; encoding uses k.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from sae_kernels import linear_topk, nested_decode_loss, sparse_decode

from sae_core.auxk import AuxKConfig, with_auxk
from sae_core.code import SparseCode
from sae_core.loss_terms import Activity, LossTerms, activity_of
from sae_core.plain import TopK
from sae_core.reconstruction import minimised_mean
from sae_core.sae import Sae
from sae_core.training_context import TrainingContext


class MultiTopKConfig(AuxKConfig):
    """Multi-TopK's configuration."""

    architecture: Literal["multi_topk"] = Field("multi_topk", description="Multi-TopK.")
    multiple: int = Field(4, ge=2, description="m: the larger code has m · k active latents.")
    multiple_weight: float = Field(
        1 / 8, gt=0, description="Weight of the larger code's reconstruction."
    )

    @model_validator(mode="after")
    def _multiple_fits(self) -> MultiTopKConfig:
        largest = self.multiple * self.k_at(0.0)
        if largest > self.n_latents:
            raise ValueError(
                f"multiple {self.multiple} · k are {largest} active latents of n_latents = "
                f"{self.n_latents}. Allowed: a product of at most {self.n_latents}. Lower multiple "
                "or k, or raise n_latents."
            )
        return self


class MultiTopKSae(Sae):
    """Multi-TopK with AuxK."""

    config: MultiTopKConfig

    def encode(self, x: torch.Tensor) -> SparseCode:
        """The k largest latents of each token, largest first: (n, k), raw units."""
        indices, values = linear_topk(self.centred(x), self.W_enc, self.b_enc, self.config.k)
        return SparseCode(indices, values / self.input_scale, self.n_latents)

    def rule(self) -> TopK:
        """The k largest."""
        return TopK(self.config.k)

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Both reconstructions and AuxK on activations x (n, d)."""
        config = self.config
        scaled = self.scaled(x)
        centred = scaled - self.b_dec.detach()
        k, bias = config.k_at(context.progress), self.training_bias()
        indices, values = linear_topk(centred, self.W_enc, bias, config.multiple * k)
        weights = scaled.new_zeros(indices.shape[1] + 1)
        weights[k], weights[-1] = 1.0, config.multiple_weight
        both = nested_decode_loss(scaled, indices, values, self.W_dec, self.b_dec, weights)
        fewer = indices[:, :k], values[:, :k].detach()
        with torch.no_grad():
            error = scaled - sparse_decode(*fewer, self.W_dec, self.b_dec)
        activity = activity_of(*fewer, n=len(x), f=self.n_latents)
        measured = error.square().sum() / len(x)
        terms = {
            "reconstruction": measured,
            "larger_code": (both.detach().mean() - measured) / config.multiple_weight,
        }
        loss = LossTerms(minimised_mean(both, scaled, config.loss_scale, context), terms)
        return with_auxk(
            self, loss, centred=centred, error=error, activity=activity, context=context
        ), activity


CONFIG = MultiTopKConfig
SAE = MultiTopKSae
