"""Gated SAE: one linear map decides whether a latent is active, a rescaled one how much.

Idea: the sparsity penalty acts on the gate alone, so that it does not shrink activations; an
auxiliary reconstruction from the gate teaches it what to let through.
Formula: π = W_enc (s x − b_dec); gate = π + b_enc > 0; a = ReLU(e^r π + b_mag) where the gate is
open, else 0; s x̂ = W_decᵀ a + b_dec with unit decoder rows; L = mean_n [Σ_d (s x − s x̂)² +
λ Σ_i u_i + Σ_d (s x − W_decᵀ u − b_dec)²], u = ReLU(π + b_enc), W_dec and b_dec constants in the
last term's decoder. λ rises linearly from 0 over the first share of the budget.
Exactly the JumpReLU SAE with encoder e^r W_enc, bias b_mag and θ = max(0, b_mag − e^r b_enc)
(`to_jumprelu`).
Reference: Rajamanoharan et al., "Improving dictionary learning with gated sparse autoencoders"
(2024), section 3 and appendix on the equivalence.
Ours differs: dead latents are resampled only where the recipe asks for it; the input is scaled by
one number; the encoder starts as for ReLU.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import linear

from sae_core.architectures.jumprelu import JumpReluConfig, JumpReluSae
from sae_core.code import SparseCode
from sae_core.config import SaeConfig
from sae_core.loss_terms import Activity, LossTerms, dense_activity
from sae_core.packing import packed
from sae_core.plain import Gate
from sae_core.products import decoded, decoded_by_constants, encoded
from sae_core.reconstruction import reconstruction_loss
from sae_core.sae import Sae
from sae_core.schedule import penalty_factor
from sae_core.training_context import TrainingContext


class GatedConfig(SaeConfig):
    """The Gated SAE's configuration."""

    float32_only: ClassVar[str | None] = None
    architecture: Literal["gated"] = Field("gated", description="Gated SAE.")
    l1: float = Field(1.0, ge=0, description="λ, the weight of the gates' sum at E‖s x‖² = d.")
    l1_warmup_share: float = Field(
        0.05, ge=0, le=1, description="Share of the budget over which λ rises from 0."
    )
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's decay of the mean gradient.")


class GatedSae(Sae):
    """Gated SAE. `b_enc` is the gate's bias; parameters `r_mag` r and `b_mag` (f,)."""

    config: GatedConfig
    latent_parameters = (*Sae.latent_parameters, "r_mag", "b_mag")

    def __init__(self, config: GatedConfig, *, width: int) -> None:
        super().__init__(config, width=width)
        self.r_mag = nn.Parameter(torch.zeros(config.n_latents))
        self.b_mag = nn.Parameter(torch.zeros(config.n_latents))

    def encode(self, x: torch.Tensor) -> SparseCode:
        """All latents with an open gate and a value > 0: (n, largest number), raw units."""
        dense, _ = self._gated(linear(self.centred(x), self.W_enc))
        code = packed(dense)
        return code._replace(values=code.values / self.input_scale)

    def rule(self) -> Gate:
        """Those with an open gate."""
        biases = (self.b_enc.detach() / self.input_scale, self.b_mag.detach() / self.input_scale)
        return Gate(biases[0], self.r_mag.detach().clone(), biases[1])

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction, `l1` of the gates and `gate`, their reconstruction, on x (n, d)."""
        scaled = self.scaled(x)
        pi = encoded(self, scaled - self.b_dec.detach(), self.centring())
        dense, gates = self._gated(pi)
        error = scaled - decoded(self, dense)
        guess = decoded_by_constants(self, gates)
        scale = self.config.loss_scale
        measured, total = reconstruction_loss(error, scaled, scale, context)
        measured_gate, gate = reconstruction_loss(scaled - guess, scaled, scale, context)
        terms = {"reconstruction": measured, "l1": gates.sum() / len(x), "gate": measured_gate}
        ramp = penalty_factor(self.config.l1_warmup_share, progress=context.progress)
        total = total + ramp * self.config.l1 * terms["l1"] + gate
        return LossTerms(total, terms, error.detach()), dense_activity(dense.detach())

    def encoder_gain(self) -> float:
        """As for ReLU: half of random latents are active."""
        return min(1.0, 2 * self.width / self.n_latents)

    def _gated(self, pi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gates = (pi + self.b_enc).relu()
        magnitudes = torch.addcmul(self.b_mag, pi, self.r_mag.exp()).relu()
        return magnitudes.masked_fill(gates <= 0, 0.0), gates


@torch.no_grad()
def to_jumprelu(sae: GatedSae) -> JumpReluSae:
    """The JumpReLU SAE with the same codes and reconstructions, up to rounding at the threshold.

    e^r π + b_mag > b_mag − e^r b_enc exactly where π + b_enc > 0; a negative threshold gives way to
    0, since magnitudes pass a ReLU.
    """
    shared = {name: getattr(sae.config, name) for name in SaeConfig.model_fields}
    # Inference is float32 whatever training was, and JumpReLU's training knows nothing else.
    own = {"architecture": "jumprelu", "compute": "float32"}
    config = JumpReluConfig(**(shared | own))
    twin = JumpReluSae(config, width=sae.width).to(sae.W_enc)
    scale = sae.r_mag.exp()
    twin.W_enc.copy_(sae.W_enc * scale.unsqueeze(1))
    twin.b_enc.copy_(sae.b_mag)
    twin.threshold.copy_((sae.b_mag - scale * sae.b_enc).clamp(min=0))
    twin.W_dec.copy_(sae.W_dec)
    twin.b_dec.copy_(sae.b_dec)
    twin.input_scale.copy_(sae.input_scale)
    return twin


CONFIG = GatedConfig
SAE = GatedSae
