"""AuxK as a term of a loss: its settings and how it enters the sum."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field, model_validator

from sae_core.active_latents import ActiveLatentsConfig
from sae_core.auxiliary_loss import auxk_loss, auxk_width
from sae_core.loss_terms import Activity, LossTerms
from sae_core.reconstruction import loss_unit
from sae_core.sae import Sae
from sae_core.training_context import TrainingContext


class AuxKConfig(ActiveLatentsConfig):
    """What the configurations share whose dead latents learn by AuxK."""

    k_aux: int | None = Field(
        None, ge=1, description="Dead latents per token in AuxK; none: power of two near d / 2."
    )
    auxk_weight: float = Field(1 / 32, ge=0, description="Weight of AuxK; 0 switches it off.")

    @property
    def looks_at_dead_latents(self) -> bool:
        """Where AuxK is on."""
        return self.auxk_weight > 0

    @model_validator(mode="after")
    def _dead_latents_fit(self) -> AuxKConfig:
        if self.k_aux is not None and self.k_aux > self.n_latents:
            raise ValueError(
                f"k_aux = {self.k_aux} dead latents of n_latents = {self.n_latents}. Allowed: 1 to "
                f"{self.n_latents}. Lower k_aux, or leave it out."
            )
        return self


def with_auxk(
    sae: Sae,
    loss: LossTerms,
    *,
    centred: torch.Tensor,
    error: torch.Tensor,
    activity: Activity,
    context: TrainingContext,
) -> LossTerms:
    """The loss and, where its weight is not 0, AuxK on the residual `error` (n, d).

    `centred` (n, d) detached encoder inputs; the SAE's configuration is an AuxKConfig. The weight
    is a share of the loss of a reconstruction by the mean (`loss_unit`).
    """
    config = sae.config
    if not config.auxk_weight:
        return replace(loss, error=error.detach())
    dead = context.dead_latents(activity.fired, len(error))
    k_aux = config.k_aux or auxk_width(sae.width)
    spread = None if dead is None else context.residual_spread(error.detach())
    auxk = auxk_loss(sae, centred, error, dead=dead, k_aux=k_aux, spread=spread)
    weight = config.auxk_weight * loss_unit(config.loss_scale, context)
    terms = {**loss.terms, "auxk": auxk}
    return LossTerms(loss.total + weight * auxk, terms, error.detach())
