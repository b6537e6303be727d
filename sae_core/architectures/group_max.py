"""GroupMax: latents stand in k groups, and of each group the largest is active.

Idea: as sparse as TopK, without a search over all latents: k maxima over f / k latents each.
Formula: z = W_enc (s x − b_dec) + b_enc; group g holds the latents g f / k to (g + 1) f / k − 1;
a = ReLU(z) on the largest z of each group, 0 elsewhere; the rest as in TopK, AuxK among it.
Reference: EleutherAI, sparsify (2024), activation "groupmax".
Ours differs: of equal values the lower index is kept; gradient reaches only entries that are
selected and > 0; AuxK has no bias and reaches the encoder.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from sae_kernels import sparse_decode
from torch.nn.functional import linear

from sae_core.auxk import AuxKConfig, with_auxk
from sae_core.code import SparseCode
from sae_core.loss_terms import Activity, LossTerms, activity_of
from sae_core.plain import GroupMax
from sae_core.reconstruction import reconstruction_loss
from sae_core.sae import Sae
from sae_core.training_context import TrainingContext


class GroupMaxConfig(AuxKConfig):
    """GroupMax's configuration."""

    architecture: Literal["group_max"] = Field("group_max", description="GroupMax.")
    k: int = Field(ge=1, description="Groups, and so active latents per token; divides n_latents.")

    @model_validator(mode="after")
    def _groups_fit(self) -> GroupMaxConfig:
        if self.k_anneal_share:
            raise ValueError(
                f"k_anneal_share {self.k_anneal_share} with architecture 'group_max', whose k is "
                "the number of its groups. Allowed: 0. Remove k_anneal_share."
            )
        if self.n_latents % self.k:
            lower = self.n_latents // self.k * self.k
            raise ValueError(
                f"k = {self.k} groups of n_latents = {self.n_latents}. Allowed: a k that divides "
                f"n_latents. Use n_latents {lower} or {lower + self.k}, or another k."
            )
        return self


class GroupMaxSae(Sae):
    """GroupMax with AuxK."""

    config: GroupMaxConfig

    def encode(self, x: torch.Tensor) -> SparseCode:
        """The largest latent of each group: indices and values (n, k), raw units."""
        indices, values = self._largest(linear(self.centred(x), self.W_enc, self.b_enc))
        return SparseCode(indices, values / self.input_scale, self.n_latents)

    def rule(self) -> GroupMax:
        """The largest of each group."""
        return GroupMax(self.config.k)

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and AuxK on activations x (n, d)."""
        scaled = self.scaled(x)
        centred = scaled - self.b_dec.detach()
        indices, values = self._largest(linear(centred, self.W_enc, self.training_bias()))
        error = scaled - sparse_decode(indices, values, self.W_dec, self.b_dec)
        activity = activity_of(indices, values.detach(), n=len(x), f=self.n_latents)
        measured, total = reconstruction_loss(error, scaled, self.config.loss_scale, context)
        loss = LossTerms(total, {"reconstruction": measured})
        return with_auxk(
            self, loss, centred=centred, error=error, activity=activity, context=context
        ), activity

    def _largest(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        groups = z.view(len(z), self.config.k, -1)
        # argmax names the first of equal values; max leaves it open.
        places = groups.detach().argmax(2)
        values = groups.gather(2, places.unsqueeze(2)).squeeze(2).relu()
        starts = torch.arange(0, self.n_latents, groups.shape[2], device=z.device)
        return (places + starts).masked_fill(values <= 0, 0), values


CONFIG = GroupMaxConfig
SAE = GroupMaxSae
