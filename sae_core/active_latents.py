"""What configurations share in which a number k says how many latents are active."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from sae_core.config import SaeConfig
from sae_core.schedule import annealed_k


class ActiveLatentsConfig(SaeConfig):
    """What the configurations share in which k says how many latents are active."""

    float32_only: ClassVar[str | None] = (
        "in bfloat16 many pre-activations round to equal values, so that the largest are not told "
        "apart"
    )
    k: int = Field(ge=1, description="Active latents per token.")
    k_start_multiple: float = Field(
        1.0, ge=1, description="k starts at this multiple of itself, and falls to it linearly ..."
    )
    k_anneal_share: float = Field(
        0.0, ge=0, le=1, description="... over this first share of the budget; 0: k is constant."
    )

    def k_at(self, progress: float) -> int:
        """Active latents for a step before which this share of the budget was seen."""
        return annealed_k(
            self.k,
            multiple=self.k_start_multiple,
            share=self.k_anneal_share,
            progress=progress,
        )

    @model_validator(mode="after")
    def _k_fits(self) -> ActiveLatentsConfig:
        check_active(self.k, self.n_latents)
        if self.k_at(0.0) > self.n_latents:
            raise ValueError(
                f"k_start_multiple {self.k_start_multiple} · k {self.k} are {self.k_at(0.0)} "
                f"active latents of n_latents = {self.n_latents}. Allowed: a product of at most "
                f"{self.n_latents}. Lower k_start_multiple or k."
            )
        if (self.k_start_multiple > 1) != (self.k_anneal_share > 0):
            raise ValueError(
                f"k_start_multiple {self.k_start_multiple} with k_anneal_share "
                f"{self.k_anneal_share}: k would not move. Allowed: a multiple above 1 with a "
                "share above 0, or 1 with 0. Set both or neither."
            )
        return self


def check_active(k: int, n_latents: int) -> None:
    """Nothing where k latents can be active among n_latents; raises ValueError otherwise."""
    if k > n_latents:
        raise ValueError(
            f"k = {k} active latents of n_latents = {n_latents}. Allowed: k from 1 to "
            f"{n_latents}. Lower k or raise n_latents."
        )
