"""Transcoder: latents read at one site reconstruct what the model writes at another.

Idea: an MLP's output as a sparse sum of directions that its input chooses: the code explains the
computation between two sites, where an SAE explains a state.
Formula: x at the source's site, y at `write_site`: z = W_enc s x + b_enc; a = ReLU(z) on the k
largest z; s' ŷ = W_decᵀ a + b_dec; L = mean_n Σ_d (s' y − s' ŷ)² + w · V · AuxK, V the variance of
s' y. FVU is that of y.
Reference: Dunefsky, Chlenski and Nanda, "Transcoders find interpretable LLM feature circuits"
(2024); selection by k: Paulo, Shabalin and Belrose, "Transcoders beat sparse autoencoders for
interpretability" (2025).
Ours differs: the k largest are kept and nothing is penalised (the first paper: L1); decoder rows
are random unit vectors at the start and stay unit vectors (the second: zeros); b_enc starts at
−W_enc x̄, b_dec at the centre of y; each site is scaled by one number.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from sae_kernels import linear_topk

from sae_core.architectures.topk import TopKConfig
from sae_core.code import SparseCode
from sae_core.config import InputKind
from sae_core.loss_terms import Activity, LossTerms
from sae_core.plain import TopK
from sae_core.sites_sae import SitesSae
from sae_core.topk_losses import topk_losses
from sae_core.training_context import TrainingContext


class TranscoderConfig(TopKConfig):
    """A transcoder's configuration."""

    inputs: ClassVar[InputKind] = "sites"
    no_resampling: ClassVar[str | None] = (
        "its encoder and decoder rows are directions of different sites: no input gives both"
    )

    architecture: Literal["transcoder"] = Field("transcoder", description="Transcoder.")
    write_site: str = Field(
        min_length=1,
        description="Site it reconstructs: a kind such as mlp_out (of the source's layer), or a "
        "site such as mlp_out.3; of the source's model and weights.",
    )

    encoder_init: Literal["independent"] = Field(
        "independent", description="Encoder rows at the start: random ones of the site it reads."
    )

    @property
    def named_inputs(self) -> tuple[str, ...]:
        """The site that is written."""
        return (self.write_site,)


class TranscoderSae(SitesSae):
    """A transcoder that keeps each token's k largest latents, with AuxK."""

    config: TranscoderConfig

    def __init__(self, config: TranscoderConfig, *, width: int, further: tuple[int, ...]) -> None:
        super().__init__(config, widths=(width, *further), n_read=1, first_written=1)

    def encode(self, x: torch.Tensor) -> SparseCode:
        """The k largest latents of each token (n, d) of the site that is read, in units of y."""
        seen = self.scaled(x)
        indices, values = linear_topk(seen, self.W_enc, self.b_enc, self.config.k)
        return SparseCode(indices, values / self.unit, self.n_latents)

    def rule(self) -> TopK:
        """The k largest."""
        return TopK(self.config.k)

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction of y and AuxK, x and y (n, d + d') side by side."""
        return topk_losses(self, self.scaled(x), self.scaled_target(x), context)


CONFIG = TranscoderConfig
SAE = TranscoderSae
