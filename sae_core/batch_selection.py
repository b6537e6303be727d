"""Latents selected over a whole batch in training, by one threshold for all of them afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from pydantic import Field
from sae_kernels import CodeSort, RaggedCode, linear_threshold

from sae_core.auxk import AuxKConfig, with_auxk
from sae_core.code import SparseCode
from sae_core.global_selection import Place, globally_largest
from sae_core.loss_terms import Activity, LossTerms, activity_of
from sae_core.packing import code_above
from sae_core.plain import Threshold
from sae_core.sae import Sae
from sae_core.threshold import solve_threshold
from sae_core.training_context import TrainingContext

_ENTRIES = 2**24  # pre-activations whose places are held at once


class BatchSelectionConfig(AuxKConfig):
    """What the configurations share whose batches keep their n·k largest latents."""

    needs_whole_batch: ClassVar[str | None] = "a batch keeps the n·k largest of all its entries"
    ranks_make_it_whole: ClassVar[bool] = True

    k: int = Field(ge=1, description="Active latents per token on average.")
    threshold_beta: float = Field(
        0.999, ge=0, lt=1, description="Decay of the threshold's moving average over batches."
    )


class BatchSelectionSae(Sae):
    """An SAE whose training batches keep their n·k largest latents, with AuxK.

    Architectures implement `reconstruction_of`. Buffers: `threshold` θ in units of s x, NaN before
    calibration; `threshold_sum` and `threshold_weight`, a moving average over training batches of
    the smallest kept value and the weight it has gathered.
    """

    config: BatchSelectionConfig

    def __init__(self, config: BatchSelectionConfig, *, width: int) -> None:
        super().__init__(config, width=width)
        self.register_buffer("threshold", torch.full((), torch.nan))
        self.register_buffer("threshold_sum", torch.zeros(()))
        self.register_buffer("threshold_weight", torch.zeros(()))

    @property
    def estimated_threshold(self) -> torch.Tensor:
        """Bias-corrected moving average of each batch's smallest kept value, 0-d; NaN if none."""
        return self.threshold_sum / self.threshold_weight

    def encode(self, x: torch.Tensor) -> SparseCode:
        """All latents above θ of each token: indices and values (n, largest number), raw units.

        Raises ValueError before calibration.
        """
        self._check_calibrated()
        code = code_above(self.centred(x), self.W_enc, self.b_enc, self.threshold)
        return code._replace(values=code.values / self.input_scale)

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and AuxK on activations x (n, d)."""
        scaled = self.scaled(x)
        centred = scaled - self.b_dec.detach()
        # Of a batch that is divided among ranks: this rank's tokens' among the whole one's.
        count = (context.batch or len(scaled)) * self.config.k_at(context.progress)
        place, sort = Place(context.place, 0, self.n_latents), CodeSort()
        layer = (self.W_enc, self.training_bias())
        code = globally_largest(centred, *layer, count, place=place, ranks=context.ranks, sort=sort)
        activity = activity_of(code.columns, code.values.detach(), n=len(scaled), f=self.n_latents)
        loss, error = self.reconstruction_of(scaled, code, context, sort=sort)
        return with_auxk(
            self, loss, centred=centred, error=error, activity=activity, context=context
        ), activity

    def reconstruction_of(
        self, scaled: torch.Tensor, code: RaggedCode, context: TrainingContext, *, sort: CodeSort
    ) -> tuple[LossTerms, torch.Tensor]:
        """The loss without AuxK on s x (n, d), and the whole code's error s x − s x̂ (n, d).

        `sort` is the code's, for what decodes it.
        """
        raise NotImplementedError

    @torch.no_grad()
    def observe(self, activity: Activity, healthy: torch.Tensor) -> None:
        """Moves the training estimate of θ towards the batch's smallest kept value."""
        usable = healthy & activity.smallest.isfinite()
        step = torch.where(usable, 1 - self.config.threshold_beta, 0.0)
        smallest = torch.where(usable, activity.smallest, 0.0)
        self.threshold_sum.lerp_(smallest, step)
        self.threshold_weight.lerp_(torch.ones_like(step), step)

    @torch.no_grad()
    def calibrate(self, batches: Iterable[torch.Tensor]) -> None:
        """Sets θ so that on these activations (n, d) a token has k latents above it on average.

        The entries are made by the operation that encodes: another library's product would round
        an entry at the threshold to its other side.
        """
        self.threshold.copy_(solve_threshold(self._positive_entries, batches, self.config.k))

    def rule(self) -> Threshold:
        """θ for every latent, in raw units; raises ValueError before calibration."""
        self._check_calibrated()
        theta = (self.threshold / self.input_scale).expand(self.n_latents).clone()
        return Threshold(theta, self.config.k)

    def _check_calibrated(self) -> None:
        if self.threshold.isnan():
            raise ValueError(
                f"this {self.config.architecture} SAE has no inference threshold yet. It is set "
                "from calibration activations. Call calibrate(batches) first."
            )

    def _positive_entries(self, x: torch.Tensor) -> torch.Tensor:
        """All pre-activations > 0 of x (n, d), in one line; their places are held of some rows."""
        zero = self.threshold.new_zeros(())
        rows = max(1, _ENTRIES // self.n_latents)
        return torch.cat(
            [
                linear_threshold(self.centred(part), self.W_enc, self.b_enc, zero).values
                for part in x.split(rows)
            ]
        )
