"""ReLU with a penalty whose exponent falls from 1 (p-annealing).

Idea: L1 trains well but shrinks every activation; Lp with a small p is nearer to counting latents
but has no useful gradient at the start. So training begins with p = 1 and lowers p in steps, and
at each step rescales λ so that the penalty keeps its value.
Formula: z = W_enc (s x − b_dec) + b_enc; a = ReLU(z); s x̂ = W_decᵀ a + b_dec with unit decoder
rows; L = mean_n [Σ_d (s x − s x̂)² + λ c_j Σ_i a_i^{p_j}]. p_0 = 1 for the first `p_hold_share` of
the budget, then `p_steps` equal steps to p_end, each p held equally long; c_0 = 1 and
c_{j+1} = c_j · mean Σ a^{p_j} / mean Σ a^{p_{j+1}}, both on the batch before the change. λ rises
linearly from 0 over the first share of the budget.
Reference: Karvonen et al., "Measuring progress in dictionary learning for language model
interpretability with board game models" (2024), section 4.
Ours differs: p changes where the share of the budget says, so no step can miss it; the ratio comes
from one batch (the paper: sums over the last 10), which makes the penalty continuous on that very
batch; below `lp_floor` the penalty is linear in a, since the derivative of a^p is unbounded at 0;
p_end = 0, whose penalty has no gradient, is refused; reconstruction is squared error (the paper's
code: its root).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from sae_core.code import SparseCode
from sae_core.config import SaeConfig
from sae_core.loss_terms import Activity, LossTerms, dense_activity
from sae_core.lp_penalty import lp_penalty
from sae_core.packing import code_above
from sae_core.plain import Relu
from sae_core.products import decoded, encoded
from sae_core.reconstruction import reconstruction_loss
from sae_core.sae import Sae
from sae_core.schedule import penalty_factor
from sae_core.training_context import TrainingContext


class PAnnealConfig(SaeConfig):
    """p-annealing's configuration."""

    float32_only: ClassVar[str | None] = None
    architecture: Literal["p_anneal"] = Field(
        "p_anneal", description="ReLU with a penalty whose exponent falls from 1."
    )
    l1: float = Field(1.0, ge=0, description="λ, the weight of Σ a at the start, at E‖s x‖² = d.")
    p_end: float = Field(0.2, gt=0, lt=1, description="The exponent at the end (paper: 0.2).")
    p_hold_share: float = Field(
        0.5, ge=0, lt=1, description="Share of the budget trained with exponent 1."
    )
    p_steps: int = Field(10, ge=1, description="Number of times the exponent changes.")
    lp_floor: float = Field(
        0.01, gt=0, description="Values below it are penalised linearly once p is below 1."
    )
    l1_warmup_share: float = Field(
        0.05, ge=0, le=1, description="Share of the budget over which λ rises from 0."
    )

    def exponent(self, progress: float) -> float:
        """p once a share `progress` of the budget has been seen."""
        if progress < self.p_hold_share:
            return 1.0
        annealed = (progress - self.p_hold_share) / (1 - self.p_hold_share)
        step = min(self.p_steps, 1 + int(annealed * self.p_steps))
        return 1 + (self.p_end - 1) * step / self.p_steps


class PAnnealSae(Sae):
    """ReLU with a penalty whose exponent falls from 1. Buffer: `penalty_scale` c (0-d)."""

    config: PAnnealConfig

    def __init__(self, config: PAnnealConfig, *, width: int) -> None:
        super().__init__(config, width=width)
        self.register_buffer("penalty_scale", torch.ones(()))

    def encode(self, x: torch.Tensor) -> SparseCode:
        """All latents > 0 of each token: indices and values (n, largest number), raw units."""
        code = code_above(self.centred(x), self.W_enc, self.b_enc, self.b_enc.new_zeros(()))
        return code._replace(values=code.values / self.input_scale)

    def rule(self) -> Relu:
        """All above 0."""
        return Relu()

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and `lp`, mean_n Σ a^p at the current p, on activations x (n, d)."""
        config = self.config
        scaled = self.scaled(x)
        centred = scaled - self.b_dec.detach()
        dense = encoded(self, centred, self.training_bias()).relu()
        error = scaled - decoded(self, dense)
        measured, total = reconstruction_loss(error, scaled, config.loss_scale, context)
        p = config.exponent(context.progress)
        terms = {"reconstruction": measured, "lp": lp_penalty(dense, p, floor=config.lp_floor)}
        ramp = penalty_factor(config.l1_warmup_share, progress=context.progress)
        total = total + ramp * config.l1 * self.penalty_scale * terms["lp"]
        activity = dense_activity(dense.detach())
        seen = context.tokens_seen + (context.batch or len(x))
        next_p = config.exponent(seen / config.tokens)
        if next_p != p:
            after = lp_penalty(dense.detach(), next_p, floor=config.lp_floor)
            activity = activity._replace(notes={"before": terms["lp"].detach(), "after": after})
        return LossTerms(total, terms, error.detach()), activity

    @torch.no_grad()
    def observe(self, activity: Activity, healthy: torch.Tensor) -> None:
        """Rescales the penalty where the exponent changes after this step."""
        if activity.notes:
            before, after = activity.notes["before"], activity.notes["after"]
            usable = healthy & (before > 0) & (after > 0)
            ratio = torch.where(usable, before / after, 1.0)
            self.penalty_scale.mul_(ratio)

    def encoder_gain(self) -> float:
        """As for ReLU: half of random latents are active."""
        return min(1.0, 2 * self.width / self.n_latents)


CONFIG = PAnnealConfig
SAE = PAnnealSae
