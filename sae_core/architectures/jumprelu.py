"""JumpReLU: a latent is active above its own threshold, and its value is not shrunk.

Idea: a threshold per latent separates whether it is active from how much. The loss is a step
function of the thresholds for one token, but its mean over tokens is smooth, and its gradient can
be estimated from the tokens whose pre-activation lies near the threshold.
Formula: z = W_enc (s x − b_dec) + b_enc; a = z where z > θ, else 0; s x̂ = W_decᵀ a + b_dec with
unit decoder rows; L = mean_n Σ_d (s x − s x̂)² + λ P + λ_P mean_n Σ_{dead i} ReLU(θ_i − z_i), with
`step`: P = L0 = mean_n |{i: a_i > 0}|; `tanh`: P = mean_n Σ tanh(c a_i); `target_l0`:
P = (L0 − L0*)² / L0*, so that a latent more costs 2 λ (L0 / L0* − 1). ∂L/∂θ by the two-sided window
of `sae_kernels.jumprelu` on z. λ rises linearly from 0 over a share of the budget.
Reference: Rajamanoharan et al., "Jumping ahead: improving reconstruction fidelity with JumpReLU
sparse autoencoders" (2024) (step; target_l0 in its appendix); Conerly et al., "Dictionary learning
optimization techniques", in "Circuits updates: January 2025" (Transformer Circuits, 2025) (tanh
and the pre-activation loss).
Ours differs: θ itself is the parameter, always float32, and is set back to at least 0 after a step:
with log θ and Adam a step moves θ by at most the share lr of itself, and small thresholds stay;
the window is on z itself (the paper's: on ReLU(z), where all z <= 0 stand at one place); a
penalty's jump at θ is taken as it is (tanh(c θ); the update: c θ times the mean slope of tanh);
decoder rows are unit vectors also with tanh (the update: free, weighed by their norms); the
pre-activation loss is for dead latents alone (the update: for all); with `target_l0` thresholds
start where that L0 is reached already (the paper: at one small value, from which a short run does
not come down, for a step moves θ by about lr at most; so with `step`, where no L0 is known: state
`threshold_init` for short runs); units are E‖s x‖² = d.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from sae_kernels import jumprelu
from torch import nn
from torch.nn.functional import linear

from sae_core.code import SparseCode
from sae_core.config import CALIBRATED_ROWS, SaeConfig
from sae_core.l0_penalty import check_target, l0_penalty, one_rank_only
from sae_core.loss_terms import Activity, LossTerms, dense_activity
from sae_core.packing import code_above
from sae_core.plain import Threshold
from sae_core.reconstruction import reconstruction_loss
from sae_core.sae import Sae
from sae_core.schedule import penalty_factor
from sae_core.threshold_start import shared_out
from sae_core.training_context import TrainingContext

_START = 0.05
# Defaults that belong to a penalty; what a configuration says itself goes before.
_OF_PENALTY: dict[str, dict[str, Any]] = {
    "tanh": {
        "tanh_scale": 4.0,
        "threshold_init": 0.1,
        "bandwidth": 2.0,
        "jump_to_encoder": True,
        "dead_weight": 3e-6,
        "sparsity_warmup_share": 1.0,
    },
    "target_l0": {"sparsity": 10.0},
}


class JumpReluConfig(SaeConfig):
    """JumpReLU's configuration; thresholds and bandwidth in units where E‖s x‖² = d."""

    float32_only: ClassVar[str | None] = (
        "in bfloat16 the pre-activations near a threshold, which its gradient is made of, round to "
        "a few values"
    )
    architecture: Literal["jumprelu"] = Field("jumprelu", description="JumpReLU.")
    penalty: Literal["step", "tanh", "target_l0"] = Field(
        "step", description="What makes codes sparse: L0, Σ tanh(c a), or the distance to an L0."
    )
    sparsity: float = Field(1.0, ge=0, description="λ, the penalty's weight (target_l0: 10).")
    sparsity_warmup_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the budget over which λ rises from 0 (tanh: 1, as in its paper).",
    )
    target_l0: float | None = Field(
        None, gt=0, description="L0*, wanted active latents per token; for penalty target_l0 alone."
    )
    tanh_scale: float | None = Field(
        None, gt=0, description="c in tanh(c a), for penalty tanh alone, there 4 (as its paper)."
    )
    threshold_init: float | None = Field(
        None,
        ge=0,
        description="θ at the start; none: with target_l0 where each latent fires on its share of "
        "calibration rows, else 0.05 (paper: 1e-3 at E‖x‖² = 1, here 1e-3 · sqrt(d); tanh: 0.1).",
    )
    bandwidth: float = Field(
        0.05,
        gt=0,
        description="ε, width of the window on z around θ (papers: as for θ; tanh: 2).",
    )
    jump_to_encoder: bool = Field(
        False, description="Whether the jump's gradient also reaches z (tanh: true)."
    )
    dead_weight: float = Field(
        0.0, ge=0, description="λ_P, weight of dead latents' pre-activation loss (tanh: 3e-6)."
    )
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's decay of the mean gradient.")

    @property
    def starts_at_target(self) -> bool:
        """Whether thresholds start where the L0 that is aimed at is reached."""
        return self.threshold_init is None and self.target_l0 is not None

    @property
    def init_rows(self) -> int:
        """Calibration rows that the start is made from, thresholds too."""
        return max(super().init_rows, CALIBRATED_ROWS if self.starts_at_target else 0)

    @property
    def looks_at_dead_latents(self) -> bool:
        """Where the pre-activation loss is on."""
        return self.dead_weight > 0

    @property
    def one_rank_only(self) -> str | None:
        """Why target_l0 cannot be divided; None with other penalties."""
        return one_rank_only(self.penalty)

    @model_validator(mode="before")
    @classmethod
    def _penalty_brings_its_defaults(cls, fields: Any) -> Any:
        if isinstance(fields, dict):
            return _OF_PENALTY.get(str(fields.get("penalty")), {}) | fields
        return fields

    @model_validator(mode="after")
    def _settings_belong_to_the_penalty(self) -> JumpReluConfig:
        check_target(self, self.penalty, self.target_l0)
        if (self.penalty == "tanh") != (self.tanh_scale is not None):
            raise ValueError(
                f"tanh_scale = {self.tanh_scale} with penalty {self.penalty!r}. Allowed: a scale "
                "above 0 with penalty 'tanh', none with others. Remove tanh_scale."
            )
        return self


class JumpReluSae(Sae):
    """JumpReLU. `threshold` (f,), a parameter: θ in units of s x."""

    config: JumpReluConfig
    latent_parameters = (*Sae.latent_parameters, "threshold")

    def __init__(self, config: JumpReluConfig, *, width: int) -> None:
        super().__init__(config, width=width)
        start = _START if config.threshold_init is None else config.threshold_init
        self.threshold = nn.Parameter(torch.full((config.n_latents,), start))

    def encode(self, x: torch.Tensor) -> SparseCode:
        """All latents above their threshold: indices and values (n, largest number), raw units."""
        code = code_above(self.centred(x), self.W_enc, self.b_enc, self.threshold)
        return code._replace(values=code.values / self.input_scale)

    def rule(self) -> Threshold:
        """All above their own threshold."""
        return Threshold((self.threshold.detach() / self.input_scale).clamp(min=0))

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction, the penalty by its name, and `dead` on activations x (n, d)."""
        config = self.config
        scaled = self.scaled(x)
        z = linear(scaled - self.b_dec.detach(), self.W_enc, self.training_bias())
        theta = self.threshold.clamp(min=0)
        width, to_z = config.bandwidth, config.jump_to_encoder
        dense, counts = jumprelu(z, theta, bandwidth=width, to_z=to_z)
        error = scaled - torch.addmm(self.b_dec, dense, self.W_dec)
        activity = dense_activity(dense.detach())
        measured, total = reconstruction_loss(error, scaled, config.loss_scale, context)
        terms = {"reconstruction": measured, config.penalty: self._penalty(z, theta, counts)}
        ramp = penalty_factor(config.sparsity_warmup_share, progress=context.progress)
        total = total + ramp * config.sparsity * terms[config.penalty]
        if config.dead_weight:
            dead = context.dead_latents(activity.fired, len(x))
            short = (
                z.new_zeros(()) if dead is None else (theta - z).relu().sum(0) @ dead.to(z.dtype)
            )
            terms["dead"] = short / len(x)
            total = total + config.dead_weight * terms["dead"]
        return LossTerms(total, terms, error.detach()), activity

    @torch.no_grad()
    def observe(self, activity: Activity, healthy: torch.Tensor) -> None:
        """Sets thresholds back to at least 0 after a step."""
        self.threshold.clamp_(min=0)

    def fit_start(self, rows: torch.Tensor | None) -> None:
        """Thresholds at which the L0 that is aimed at is reached."""
        if self.config.starts_at_target:
            target = self.config.target_l0
            assert target is not None
            self.threshold.copy_(shared_out(self, rows, target))

    def encoder_gain(self) -> float:
        """As for ReLU: about half of random latents are active."""
        return min(1.0, 2 * self.width / self.n_latents)

    def _penalty(self, z: torch.Tensor, theta: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        config = self.config
        if config.penalty != "tanh":
            return l0_penalty(counts.sum().to(z.dtype) / len(z), config.target_l0)
        # Its jump at θ is tanh(c θ) a token: the gate's, whose gradient the counts carry.
        on = (config.tanh_scale * z).tanh().masked_fill(z.detach() <= theta.detach(), 0.0)
        jumped = (config.tanh_scale * theta.detach()).tanh() * (counts - counts.detach())
        return (on.sum() + jumped.sum()) / len(z)


CONFIG = JumpReluConfig
SAE = JumpReluSae
