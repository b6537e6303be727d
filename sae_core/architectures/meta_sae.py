"""Meta-SAE: an SAE of another SAE's dictionary, which takes its directions apart.

Idea: if a latent's direction is a sparse sum of a few others, the latent is not a smallest unit.
Formula: the data are the unit decoder rows of the SAE that `dictionary` names; otherwise as
BatchTopK. Score: 1 − FVU on those rows = 1 − Σ_i ‖d_i − d̂_i‖² / Σ_i ‖d_i − d̄‖².
Reference: Leask et al., "Sparse autoencoders do not find canonical units of analysis" (2025).
Ours differs: as BatchTopK's; the size (theirs: a quarter of the dictionary's) and the number of
rows seen (theirs: 1,500 batches of 1,024) are the recipe's `n_latents` and `tokens`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sae_core.architectures.batch_topk import BatchTopKConfig, BatchTopKSae
from sae_core.config import InputKind


class MetaSaeConfig(BatchTopKConfig):
    """A meta-SAE's configuration; its tokens are rows of the dictionary."""

    inputs: ClassVar[InputKind] = "dictionary"

    architecture: Literal["meta_sae"] = Field("meta_sae", description="SAE of a dictionary.")
    dictionary: str = Field(
        min_length=1,
        description="The SAE whose decoder rows are the data: <recipe>.s<seed> for the one on the "
        "same source, <site>/<recipe>.s<seed> for one on another site of the same weights.",
    )
    k: int = Field(4, ge=1, description="Active latents per row on average.")
    batch_size: int = Field(1024, ge=1, description="Rows per step.")
    lr: float | None = Field(
        5e-4,
        gt=0,
        description="Adam's learning rate at its highest; none means 2e-4 · sqrt(2^14 / f).",
    )

    @property
    def named_inputs(self) -> tuple[str, ...]:
        """The SAE whose dictionary it reads."""
        return (self.dictionary,)


class MetaSae(BatchTopKSae):
    """BatchTopK on decoder rows."""

    config: MetaSaeConfig


CONFIG = MetaSaeConfig
SAE = MetaSae
