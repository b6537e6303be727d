"""Crosscoder: one dictionary over several sites at once, with an L1 penalty.

Idea: a latent is one thing that the model carries through several layers; its decoder has a
direction at every site, and how long each is says where the latent lives.
Formula: z = Σ_l W_enc^l s_l x^l + b_enc; a = ReLU(z); s_l x̂^l = Σ_i a_i d_i^l + b_dec^l;
L = mean_n [Σ_l ‖s_l x^l − s_l x̂^l‖² + λ Σ_i a_i Σ_l ‖d_i^l‖], λ rising linearly from 0 over the
first share of the budget. Relative decoder norm: ‖d_i^l‖ / Σ_m ‖d_i^m‖.
Reference: Lindsey et al., "Sparse crosscoders for cross-layer features and model diffing" (2024).
Ours differs: a latent's rows at all sites are one unit vector together (its penalty depends on
a_i ‖d_i‖ alone, so this costs nothing); each site is scaled by one number; b_dec starts at the
sites' centres and b_enc at −W_enc x̄; the encoder starts as the decoder's transpose times
min(1, 2 Σ d_l / f).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch.nn.functional import linear

from sae_core.code import SparseCode
from sae_core.config import InputKind, SaeConfig
from sae_core.loss_terms import Activity, LossTerms, dense_activity
from sae_core.packing import code_above
from sae_core.reconstruction import reconstruction_loss
from sae_core.schedule import penalty_factor
from sae_core.sites_sae import SitesSae
from sae_core.training_context import TrainingContext


class CrosscoderConfig(SaeConfig):
    """A crosscoder's configuration."""

    inputs: ClassVar[InputKind] = "sites"
    no_resampling: ClassVar[str | None] = "inputs of several sites are not centred by one b_dec"

    architecture: Literal["crosscoder"] = Field("crosscoder", description="Crosscoder with L1.")
    sites: tuple[str, ...] = Field(
        description="Sites it is over, such as [resid_post.1, resid_post.2], or kinds of site, of "
        "the source's layer; the source's own is always one of them.",
    )
    l1: float = Field(1.0, ge=0, description="λ, the weight of Σ a ‖d‖ at E‖s x‖² = d.")
    l1_warmup_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the budget over which λ rises from 0 (dictionaries in use: 5 %).",
    )

    @property
    def named_inputs(self) -> tuple[str, ...]:
        """The sites it is over."""
        return self.sites

    @field_validator("sites")
    @classmethod
    def _several_sites(cls, sites: tuple[str, ...]) -> tuple[str, ...]:
        return several_sites(sites)


def several_sites(sites: tuple[str, ...]) -> tuple[str, ...]:
    """The sites themselves, at least two different ones; raises ValueError otherwise."""
    if len(set(sites)) < max(2, len(sites)):
        raise ValueError(
            f"sites {list(sites)} were given for a crosscoder. Allowed: two or more sites, each "
            "once. Name more sites, or use an SAE of one site, such as topk."
        )
    return sites


class CrosscoderSae(SitesSae):
    """A crosscoder with an L1 penalty."""

    config: CrosscoderConfig

    def __init__(self, config: CrosscoderConfig, *, width: int, further: tuple[int, ...]) -> None:
        widths = (width, *further)
        super().__init__(config, widths=widths, n_read=len(widths), first_written=0)

    def encode(self, x: torch.Tensor) -> SparseCode:
        """All latents > 0 of each token: x (n, Σ d_l), sites side by side."""
        code = code_above(self.scaled(x), self.W_enc, self.b_enc, self.b_enc.new_zeros(()))
        return code._replace(values=code.values / self.unit)

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction of all sites and L1 on x (n, Σ d_l)."""
        scaled = self.scaled(x)
        dense = linear(scaled, self.W_enc, self.b_enc).relu()
        error = scaled - torch.addmm(self.b_dec, dense, self.W_dec)
        penalty = (dense @ self.norms_of_sites().sum(1)).sum() / len(x)
        measured, total = reconstruction_loss(error, scaled, self.config.loss_scale, context)
        terms = {"reconstruction": measured, "l1": penalty}
        ramp = penalty_factor(self.config.l1_warmup_share, progress=context.progress)
        total = total + ramp * self.config.l1 * penalty
        return LossTerms(total, terms, error.detach()), dense_activity(dense.detach())

    def encoder_gain(self) -> float:
        """Half of random latents are active: with this gain their sum has the input's size."""
        return min(1.0, 2 * self.width / self.n_latents)


CONFIG = CrosscoderConfig
SAE = CrosscoderSae
