"""TopK crosscoder: one dictionary over several sites, each token keeping its k largest latents.

Idea: as the crosscoder, with sparsity set instead of penalised.
Formula: z = Σ_l W_enc^l s_l x^l + b_enc; a = ReLU(z) on the k largest z; s_l x̂^l as the
crosscoder; L = mean_n Σ_l ‖s_l x^l − s_l x̂^l‖² + w · V · AuxK, V the variance of all sites.
Reference: Lindsey et al., "Sparse crosscoders for cross-layer features and model diffing" (2024);
Gao et al., "Scaling and evaluating sparse autoencoders" (2024), for the k largest and AuxK.
Ours differs: as the crosscoder's and TopK's.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator
from sae_kernels import linear_topk

from sae_core.architectures.crosscoder import several_sites
from sae_core.architectures.topk import TopKConfig
from sae_core.code import SparseCode
from sae_core.config import InputKind
from sae_core.loss_terms import Activity, LossTerms
from sae_core.sites_sae import SitesSae
from sae_core.topk_losses import topk_losses
from sae_core.training_context import TrainingContext


class TopKCrosscoderConfig(TopKConfig):
    """A TopK crosscoder's configuration."""

    inputs: ClassVar[InputKind] = "sites"
    no_resampling: ClassVar[str | None] = "inputs of several sites are not centred by one b_dec"

    architecture: Literal["topk_crosscoder"] = Field(
        "topk_crosscoder", description="Crosscoder with k active latents."
    )
    sites: tuple[str, ...] = Field(
        description="Sites it is over, such as [resid_post.1, resid_post.2], or kinds of site, of "
        "the source's layer; the source's own is always one of them.",
    )

    @property
    def named_inputs(self) -> tuple[str, ...]:
        """The sites it is over."""
        return self.sites

    @field_validator("sites")
    @classmethod
    def _several_sites(cls, sites: tuple[str, ...]) -> tuple[str, ...]:
        return several_sites(sites)


class TopKCrosscoderSae(SitesSae):
    """A crosscoder that keeps each token's k largest latents, with AuxK."""

    config: TopKCrosscoderConfig

    def __init__(
        self, config: TopKCrosscoderConfig, *, width: int, further: tuple[int, ...]
    ) -> None:
        widths = (width, *further)
        super().__init__(config, widths=widths, n_read=len(widths), first_written=0)

    def encode(self, x: torch.Tensor) -> SparseCode:
        """The k largest latents of each token: x (n, Σ d_l), sites side by side."""
        seen = self.scaled(x)
        indices, values = linear_topk(seen, self.W_enc, self.b_enc, self.config.k)
        return SparseCode(indices, values / self.unit, self.n_latents)

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction of all sites and AuxK on x (n, Σ d_l)."""
        scaled = self.scaled(x)
        return topk_losses(self, scaled, scaled, context)


CONFIG = TopKCrosscoderConfig
SAE = TopKCrosscoderSae
