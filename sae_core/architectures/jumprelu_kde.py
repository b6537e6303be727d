"""JumpReLU whose threshold gradients use the pre-activations of many recent steps.

Idea: how the mean loss changes with a threshold is known exactly: it is a density times a
conditional mean at the threshold. One batch has few tokens near a threshold, so their estimate is
noisy, or biased where the window is widened. Density and mean change slowly: keep them over recent
tokens, and narrow each latent's window to what that many tokens allow.
Formula: codes and loss as in jumprelu with `step` or `target_l0`. ∂E[L]/∂θ_i =
−p_i(θ_i) · E[Δ_i + c | z_i = θ_i]; Δ_i the change of a token's squared error when its a_i goes from
0 to θ_i, exactly θ_i h_i, h_i = g_i + (θ_i − 2 a_i) ‖d_i‖² with g_i = ∂‖s x − s x̂‖²/∂a_i, for the
squared error is quadratic in a_i (where `loss_scale` weighs tokens, h_i is times the weight);
c = λ ∂P/∂L0. Per batch of n tokens, K the window (−1/2, 1/2): q_i = Σ_n K((z_ni − θ_i) / ε_i) /
(n ε_i) estimates p_i, and m_i = Σ_n K(·) h_ni / (n ε_i) estimates p_i E[h_i | ·]. Both are averaged
over recent tokens, bias-corrected, with decay 1 − n / M a batch, M = `memory_tokens`; the gradient
is −(θ_i m̄_i + c q̄_i), with this step's θ and c. Bandwidth: ε_i = √N / (N q̄_i), N the remembered
tokens (M in the long run), so that the window holds √N of them, at most `bandwidth_max`; ε_i starts
at `bandwidth`. A memory of S = M / n batches divides the variance by 2 S − 1. Bias: from the
window's width, of order ε²; and from θ, h and p having moved meanwhile, θ by at most lr · S.
A latent that is started anew keeps the old one's memory, which fades over M tokens.
Reference: Rajamanoharan et al., "Jumping ahead" (2024), section 3 and appendix B, for the gradient
and its estimate from one batch; Silverman, "Density estimation" (1986), for the kernel.
Ours differs: the paper estimates from one batch with one bandwidth, and averages g over both sides
of the window instead of Δ, with an error of order ε; memory, bandwidth rule and Δ are ours;
thresholds start as in jumprelu.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn.functional import linear

from sae_core.code import SparseCode
from sae_core.config import CALIBRATED_ROWS, SaeConfig
from sae_core.known_gradient import with_gradient
from sae_core.l0_penalty import check_target, l0_penalty, l0_price, one_rank_only
from sae_core.loss_terms import Activity, LossTerms, dense_activity
from sae_core.packing import code_above
from sae_core.plain import Threshold
from sae_core.reconstruction import minimised_mean
from sae_core.sae import Sae
from sae_core.schedule import penalty_factor
from sae_core.threshold_start import shared_out
from sae_core.training_context import TrainingContext

_START = 0.05
_NARROWEST = 1e-3  # share of bandwidth_max: a latent whose values hardly vary still has a window


class JumpReluKdeConfig(SaeConfig):
    """The configuration; thresholds and bandwidths in units where E‖s x‖² = d."""

    float32_only: ClassVar[str | None] = (
        "in bfloat16 the pre-activations near a threshold, which its gradient is made of, round to "
        "a few values"
    )
    architecture: Literal["jumprelu_kde"] = Field(
        "jumprelu_kde", description="JumpReLU with thresholds' gradients from many steps."
    )
    penalty: Literal["step", "target_l0"] = Field(
        "step", description="What makes codes sparse: L0, or the squared distance to an L0."
    )
    sparsity: float = Field(1.0, ge=0, description="λ, the penalty's weight (target_l0: try 10).")
    sparsity_warmup_share: float = Field(
        0.05, ge=0, le=1, description="Share of the budget over which λ rises from 0."
    )
    target_l0: float | None = Field(
        None, gt=0, description="L0*, wanted active latents per token; for penalty target_l0 alone."
    )
    threshold_init: float | None = Field(
        None,
        ge=0,
        description="θ at the start; none: with target_l0 where each latent fires on its share of "
        "calibration rows, else 0.05 (paper: 1e-3 at E‖x‖² = 1, here 1e-3 · sqrt(d)).",
    )
    memory_tokens: int = Field(
        65_536, ge=1, description="M, tokens over which density and mean gradient are averaged."
    )
    bandwidth: float = Field(
        0.05, gt=0, description="ε of the first step, before any density is known (paper: as θ)."
    )
    bandwidth_max: float = Field(
        0.25, gt=0, description="Largest ε: for latents that are rarely near their threshold."
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
    def one_rank_only(self) -> str | None:
        """Why target_l0 cannot be divided; None with other penalties."""
        return one_rank_only(self.penalty)

    @model_validator(mode="after")
    def _settings_fit(self) -> JumpReluKdeConfig:
        check_target(self, self.penalty, self.target_l0)
        if self.bandwidth > self.bandwidth_max:
            raise ValueError(
                f"bandwidth {self.bandwidth} is above bandwidth_max {self.bandwidth_max}. Allowed: "
                "at most that. Lower bandwidth or raise bandwidth_max."
            )
        return self


class _Near(NamedTuple):
    """What a batch's estimate is made of, all without gradients.

    `z`, `dense` (n, f); `theta` (f,); `at_code` (n, f) and `weights` (n,): derivatives of the
    minimised mean by a and by each token's squared error.
    """

    z: torch.Tensor
    theta: torch.Tensor
    at_code: torch.Tensor
    dense: torch.Tensor
    weights: torch.Tensor


class JumpReluKdeSae(Sae):
    """JumpReLU with remembered threshold gradients. `threshold` (f,) θ, a parameter.

    Buffers: `density` (f,) and `slope` (f,), the decayed averages of q and m; `memory_weight`
    (0-d), the weight that they have gathered.
    """

    config: JumpReluKdeConfig
    latent_parameters = (*Sae.latent_parameters, "threshold")

    def __init__(self, config: JumpReluKdeConfig, *, width: int) -> None:
        super().__init__(config, width=width)
        start = _START if config.threshold_init is None else config.threshold_init
        self.threshold = nn.Parameter(torch.full((config.n_latents,), start))
        self.register_buffer("density", torch.zeros(config.n_latents))
        self.register_buffer("slope", torch.zeros(config.n_latents))
        self.register_buffer("memory_weight", torch.zeros(()))

    @property
    def bandwidths(self) -> torch.Tensor:
        """ε (f,) of the next batch, from the densities known so far."""
        config = self.config
        remembered = self.memory_weight * config.memory_tokens
        # √N / (N q̄) with q̄ = density / weight; before the first batch 0 / 0, where `bandwidth` is.
        width = self.memory_weight / (remembered.sqrt() * self.density)
        width = torch.where(width.isnan(), config.bandwidth, width)
        return width.clamp(_NARROWEST * config.bandwidth_max, config.bandwidth_max)

    def encode(self, x: torch.Tensor) -> SparseCode:
        """All latents above their threshold: indices and values (n, largest number), raw units."""
        code = code_above(self.centred(x), self.W_enc, self.b_enc, self.threshold)
        return code._replace(values=code.values / self.input_scale)

    def rule(self) -> Threshold:
        """All above their own threshold."""
        return Threshold((self.threshold.detach() / self.input_scale).clamp(min=0))

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and the penalty by its name on activations x (n, d)."""
        config, n = self.config, len(x)
        scaled = self.scaled(x)
        z = linear(scaled - self.b_dec.detach(), self.W_enc, self.training_bias())
        theta = self.threshold.detach().clamp(min=0)
        off = z.detach() <= theta
        dense = z.detach().masked_fill(off, 0.0)
        error = scaled - torch.addmm(self.b_dec, dense, self.W_dec)
        squared = error.square().sum(1)
        total = minimised_mean(squared, scaled, config.loss_scale, context)
        (weights,) = torch.autograd.grad(total, squared, retain_graph=True)
        activity = dense_activity(dense)
        l0 = (dense > 0).sum().to(z.dtype) / n
        terms = {
            "reconstruction": squared.mean(),
            config.penalty: l0_penalty(l0, config.target_l0),
        }
        ramp = penalty_factor(config.sparsity_warmup_share, progress=context.progress)
        total = total + ramp * config.sparsity * terms[config.penalty]
        # The gradient at the code, made once: the window needs it also where latents are off.
        weighed = weights.unsqueeze(1) * error.detach()
        at_code = (weighed @ self.W_dec.detach().T).mul_(-2)
        near = _Near(z.detach(), theta, at_code, dense, weights)
        notes = self._near_thresholds(near, share=(context.batch or n) / config.memory_tokens)
        price = ramp * config.sparsity * l0_price(l0, config.target_l0)
        total = with_gradient(total, z, at_code.masked_fill_(off, 0.0))
        total = with_gradient(total, self.threshold, self._at_threshold(theta, price, notes))
        return LossTerms(total, terms, error.detach()), activity._replace(notes=notes)

    @torch.no_grad()
    def observe(self, activity: Activity, healthy: torch.Tensor) -> None:
        """Remembers the batch, and sets thresholds back to at least 0."""
        density, slope, weight = self._remembered(activity.notes)
        self.density.copy_(torch.where(healthy, density, self.density))
        self.slope.copy_(torch.where(healthy, slope, self.slope))
        self.memory_weight.copy_(torch.where(healthy, weight, self.memory_weight))
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

    def _near_thresholds(self, near: _Near, *, share: float) -> dict[str, torch.Tensor]:
        """q and m (f,) of one batch, and its share of the memory (0-d)."""
        n, width = len(near.z), self.bandwidths
        outside = (near.z - near.theta).abs_() >= width / 2
        square_norms = self.W_dec.detach().square().sum(1)
        rise = (near.theta - 2 * near.dense).mul_(square_norms).mul_(near.weights.unsqueeze(1))
        rise.add_(near.at_code).masked_fill_(outside, 0.0)
        return {
            "density": (n - outside.sum(0)) / (n * width),
            "slope": rise.sum(0) / width,
            "share": near.z.new_full((), min(1.0, share)),
        }

    def _at_threshold(
        self, theta: torch.Tensor, price: torch.Tensor, notes: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        density, slope, weight = self._remembered(notes)
        return -(theta * slope + price * density) / weight

    def _remembered(
        self, notes: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Density, slope and weight with a batch counted in."""
        share = notes["share"]
        density = torch.lerp(self.density, notes["density"], share)
        slope = torch.lerp(self.slope, notes["slope"], share)
        return density, slope, self.memory_weight + (1 - self.memory_weight) * share


CONFIG = JumpReluKdeConfig
SAE = JumpReluKdeSae
