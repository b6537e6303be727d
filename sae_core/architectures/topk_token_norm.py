"""TopK on inputs that are normalised token by token.

Idea: every token has the same mean and spread before it is encoded, so that large tokens count no
more than small ones; the reconstruction gets its token's mean and spread back.
Formula: x̃ = (x − μ) / (σ + ε) with the mean μ and the (unbiased) standard deviation σ of the
token's own d numbers, ε = 1e-5; z = W_enc (x̃ − b_dec) + b_enc; a = ReLU(z) on the k largest z;
x̂ = σ (W_decᵀ a + b_dec) + μ; L = mean_n ‖x̃ − x̃̂‖² + w · V · AuxK, x̃̂ = W_decᵀ a + b_dec. A code's
values are σ a; code and dictionary alone give x̂ − σ b_dec − μ, and `reconstruct` the whole.
Reference: Gao et al., "Scaling and evaluating sparse autoencoders" (2024), section 2.1 (inputs:
mean over d subtracted, unit norm) and the code published with it (as here).
Ours differs: as TopK's; b_dec starts at 0, near where normalised tokens have their centre; V is
the variance of s x, which AuxK's weight refers to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from sae_kernels import linear_topk, sparse_decode

from sae_core.architectures.topk import TopKConfig
from sae_core.code import SparseCode
from sae_core.loss_terms import Activity, LossTerms
from sae_core.plain import PlainSae, TopK, normalised_per_token
from sae_core.sae import Sae
from sae_core.topk_losses import topk_losses
from sae_core.training_context import TrainingContext


class TopKTokenNormConfig(TopKConfig):
    """The configuration."""

    code_is_all: ClassVar[bool] = False
    no_resampling: ClassVar[str | None] = "inputs are drawn unnormalised"

    architecture: Literal["topk_token_norm"] = Field(
        "topk_token_norm", description="TopK on tokens of mean 0 and spread 1."
    )
    bias_init: Literal["zero"] = Field("zero", description="Where b_dec starts: at 0.")


class TopKTokenNormSae(Sae):
    """TopK on normalised tokens, with AuxK. `input_scale` s takes no part in its codes."""

    config: TopKTokenNormConfig

    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        """x̃ of activations x (n, d); raises ValueError for another shape."""
        super().scaled(x)
        return normalised_per_token(x.to(self.W_enc.dtype))[0].contiguous()

    def encode(self, x: torch.Tensor) -> SparseCode:
        """The k largest latents of each token: indices and values (n, k), raw units."""
        indices, values = linear_topk(self.centred(x), self.W_enc, self.b_enc, self.config.k)
        spread = normalised_per_token(x.to(self.W_enc.dtype))[1]
        return SparseCode(indices, values * spread, self.n_latents)

    def decode(self, code: SparseCode) -> torch.Tensor:
        """Σ_j values_nj · W_dec[indices_nj] (n, d): without what only the token itself knows."""
        nothing = torch.zeros_like(self.b_dec)
        return sparse_decode(code.indices, code.values, self.W_dec, nothing)

    def reconstruct(self, x: torch.Tensor, code: SparseCode) -> torch.Tensor:
        """x̂ (n, d) from a code and the tokens x (n, d) whose mean and spread it gets."""
        _, spread, mean = normalised_per_token(x.to(self.W_enc.dtype))
        return self.decode(code) + self.b_dec * spread + mean

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction of x̃ and AuxK on activations x (n, d)."""
        scaled = self.scaled(x)
        return topk_losses(self, scaled - self.b_dec.detach(), scaled, context)

    def rule(self) -> TopK:
        """The k largest."""
        return TopK(self.config.k)

    @torch.no_grad()
    def plain(self) -> PlainSae | None:
        """The same as plain data: nothing is folded, as nothing is scaled."""
        made = super().plain()
        b_enc, b_dec = self.b_enc.detach().clone(), self.b_dec.detach().clone()
        return made and replace(made, b_enc=b_enc, b_dec=b_dec, per_token=True)


CONFIG = TopKTokenNormConfig
SAE = TopKTokenNormSae
