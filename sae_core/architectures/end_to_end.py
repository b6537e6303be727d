"""End-to-end SAE: trained for what the language model says with it, not for the activations.

Idea: a reconstruction is as good as what the model makes of it; latents that the model's output
does not need cost sparsity and buy nothing.
Formula: z = W_enc (s x − b_dec) + b_enc; a = ReLU(z); s x̂ = W_decᵀ a + b_dec with unit decoder
rows; L = KL(p(x) ‖ p(x̂)) + λ / d · mean_n Σ_i a_i + α · mean_l Σ ‖h_l − h'_l‖² / Σ ‖h_l − h̄_l‖²,
h_l the activations at `later_sites` of the untouched model, h'_l with x̂ in the place of x; λ rises
linearly from 0 over the first share of the budget. Without `later_sites` the last term is absent.
The term `reconstruction` is measured and not part of L.
Reference: Braun, Taylor, Goldowsky-Dill and Sharkey, "Identifying functionally important features
with end-to-end sparse dictionary learning" (2024).
Ours differs: the later sites' errors are divided by their variance, so that sites of different
size count alike; inputs are scaled by one number. Batches are whole rows of text, in random
order of rows: tokens next to each other are in one batch, which shuffled activations are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch.nn.functional import linear

from sae_core.code import SparseCode
from sae_core.config import InputKind, SaeConfig
from sae_core.loss_terms import Activity, LossTerms
from sae_core.packing import code_above
from sae_core.plain import Relu
from sae_core.sae import Sae
from sae_core.schedule import penalty_factor
from sae_core.training_context import TrainingContext


class EndToEndConfig(SaeConfig):
    """An end-to-end SAE's configuration."""

    inputs: ClassVar[InputKind] = "token_rows"
    no_resampling: ClassVar[str | None] = "its loss is of the model's output, not of single inputs"
    needs_whole_batch: ClassVar[str | None] = "its batches are whole rows of text"

    architecture: Literal["end_to_end"] = Field(
        "end_to_end", description="Trained through the language model."
    )
    l1: float = Field(1.0, ge=0, description="λ, the weight of Σ a / d at E‖s x‖² = d.")
    l1_warmup_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the budget over which λ rises from 0 (dictionaries in use: 5 %).",
    )
    later_sites: tuple[str, ...] = Field(
        (), description="Sites behind the source's whose activations shall stay as they are."
    )
    later_weight: float = Field(1.0, ge=0, description="α, the weight of the later sites' errors.")

    @property
    def idle_settings(self) -> Mapping[str, str]:
        """Without later sites, their weight."""
        weight = {} if self.later_sites else {"later_weight": "no later_sites are named"}
        return {**super().idle_settings, **weight}

    @property
    def named_inputs(self) -> tuple[str, ...]:
        """The later sites."""
        return self.later_sites

    @model_validator(mode="after")
    def _nothing_to_scale(self) -> EndToEndConfig:
        if self.loss_scale != "none":
            raise ValueError(
                f"loss_scale {self.loss_scale!r} with architecture 'end_to_end': its squared error "
                "is measured and not minimised. Allowed: 'none'. Remove loss_scale."
            )
        return self


class EndToEndSae(Sae):
    """ReLU with an L1 penalty, trained through a frozen language model."""

    config: EndToEndConfig

    def encode(self, x: torch.Tensor) -> SparseCode:
        """All latents > 0 of each token: indices and values (n, largest number), raw units."""
        code = code_above(self.centred(x), self.W_enc, self.b_enc, self.b_enc.new_zeros(()))
        return code._replace(values=code.values / self.input_scale)

    def rule(self) -> Relu:
        """All above 0."""
        return Relu()

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """KL, L1 and the later sites' errors on tokens x (n, columns of the language model)."""
        if context.language_model is None:
            raise ValueError(
                "an end_to_end SAE is trained through a language model and was given none. Pass "
                "language_model to the trainee."
            )
        reading = context.language_model.read(x)
        on, m = reading.replaced.unsqueeze(1), reading.replaced.sum().clamp(min=1)
        scaled = self.scaled(reading.x)
        centred = scaled - self.b_dec.detach()
        # Tokens that are left alone have no code: they cost nothing and fire nothing.
        dense = linear(centred, self.W_enc, self.training_bias()).relu() * on
        made = torch.addmm(self.b_dec, dense, self.W_dec)
        found = reading.splice(made / self.input_scale)
        error = (scaled - made).detach() * on
        terms = {
            "kl": found.kl,
            "l1": dense.sum() / m / self.width,
            "later": found.later,
            "reconstruction": error.square().sum() / m,
        }
        ramp = penalty_factor(self.config.l1_warmup_share, progress=context.progress)
        total = terms["kl"] + ramp * self.config.l1 * terms["l1"]
        if self.config.later_sites:
            total = total + self.config.later_weight * terms["later"]
        fired = dense.detach() > 0
        activity = Activity(fired.any(0), fired.sum() / m, dense.new_full((), torch.inf))
        return LossTerms(total, terms, error), activity

    def encoder_gain(self) -> float:
        """Half of random latents are active: with this gain their sum has the input's size."""
        return min(1.0, 2 * self.width / self.n_latents)


CONFIG = EndToEndConfig
SAE = EndToEndSae
