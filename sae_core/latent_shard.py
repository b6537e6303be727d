"""A rank's latents of an SAE: what the shards of all architectures share.

Latents g f / R to (g + 1) f / R − 1 belong to rank g; the output's bias belongs to all. Every rank
sees the whole batch. Reconstructions are sums over ranks, so that losses are the whole SAE's, and
the gradient of a rank's own latents is complete; no rank waits for another in a backward pass.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import torch
from sae_kernels import linear_masked_topk, linear_topk, sparse_decode
from torch.autograd.function import FunctionCtx

from sae_core.architectures import build
from sae_core.auxiliary_loss import auxk_width
from sae_core.loss_terms import Activity, LossTerms
from sae_core.ranks import ALONE, Ranks, least, summed, summed_in_pieces
from sae_core.reconstruction import loss_unit
from sae_core.sae import Sae

if TYPE_CHECKING:
    from sae_core.training_context import TrainingContext


class LatentShard(Sae):
    """A rank's latents; `config` is the whole SAE's, `n_latents` the shard's own number.

    Only to be trained: `encode` and `calibrate` belong to the whole SAE.
    """

    ranks: Ranks = ALONE

    @classmethod
    def of(cls, whole: Sae, ranks: Ranks) -> Self:
        """The shard with this rank's latents of `whole`."""
        config, size = whole.config, whole.n_latents // ranks.size
        made = cls(config.model_copy(update={"n_latents": size}), width=whole.width)
        made.config, made.ranks = config, ranks
        own = slice(ranks.index * size, (ranks.index + 1) * size)
        state = {
            name: tensor[own] if name in whole.latent_parameters else tensor
            for name, tensor in whole.state_dict().items()
        }
        made.to(whole.W_enc).load_state_dict(state)
        return made

    @property
    def n_latents(self) -> int:
        """f / R."""
        return self.W_enc.shape[0]

    @property
    def first_latent(self) -> int:
        """The number that its first latent has in the whole SAE."""
        return self.ranks.index * self.n_latents

    def whole(self) -> Sae:
        """The whole SAE; asked for by all ranks together."""
        sae = build(self.config, width=self.width).to(self.W_enc)
        state = self.state_dict()
        for name in self.latent_parameters:
            state[name] = self.ranks.gathered(state[name]).flatten(0, 1)
        sae.load_state_dict(state)
        return sae

    def completed(self, gradients: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """The gradients; those of what all ranks share are sums of every rank's part."""
        names = [name for name, _ in self.named_parameters()]
        return tuple(
            gradient if name in self.latent_parameters else summed(gradient, self.ranks)
            for name, gradient in zip(names, gradients, strict=True)
        )

    def made(self, part: torch.Tensor) -> torch.Tensor:
        """s x̂ (n, d) of all ranks' parts W_decᵀ a of it.

        The R parts of b_dec's gradient through here are equal, so that each rank gives one R-th.
        """
        bias = self.b_dec.detach()
        return _Summed.apply(part, self.ranks) + (bias + (self.b_dec - bias) / self.ranks.size)

    def of_all(self, activity: Activity) -> Activity:
        """The activity with the whole code's L0 and smallest value; `fired` is of own latents."""
        l0, smallest = summed(activity.l0, self.ranks), least(activity.smallest, self.ranks)
        return activity._replace(l0=l0, smallest=smallest)

    def largest(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Own indices and values (n, c) of each token's k largest of all ranks' x·weightᵀ + bias.

        As `linear_topk` on the whole, of equal values the lower latent, with value 0 where one is
        not among them; c = k. On the wire: k values a token and rank.
        """
        return self._merged(*linear_topk(x, weight, bias, min(k, len(weight))), k)

    def _merged(
        self, indices: torch.Tensor, values: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Own candidates (n, c), largest first, that are among all ranks' k largest: (n, k)."""
        n, missing = len(values), k - values.shape[1]
        indices = torch.nn.functional.pad(indices, (0, missing))
        values = torch.nn.functional.pad(values, (0, missing))
        everybodys = self.ranks.gathered(values.detach()).transpose(0, 1).flatten(1)
        best = everybodys.sort(dim=1, descending=True, stable=True).indices[:, :k]
        kept = torch.zeros_like(everybodys, dtype=torch.bool).scatter_(1, best, True)
        kept = kept.view(n, self.ranks.size, k)[:, self.ranks.index]
        return indices.masked_fill(~kept, 0), torch.where(kept, values, 0.0)

    def with_auxk(
        self,
        loss: LossTerms,
        *,
        centred: torch.Tensor,
        error: torch.Tensor,
        activity: Activity,
        context: TrainingContext,
    ) -> LossTerms:
        """The loss and AuxK on the residual, as `auxk.with_auxk` with all ranks' dead latents."""
        config = self.config
        loss = replace(loss, error=error.detach())
        if not config.auxk_weight:
            return loss
        dead = context.dead_latents(activity.fired, len(error))
        if dead is None:
            dead = torch.zeros_like(activity.fired)
        n_dead = summed(dead.sum().view(1), self.ranks).tolist()[0]
        auxk = error.new_zeros(())
        if n_dead:
            k = min(config.k_aux or auxk_width(self.width), n_dead)
            auxk = self._auxk(centred, error.detach(), dead, k, context)
        weight = config.auxk_weight * loss_unit(config.loss_scale, context)
        terms = {**loss.terms, "auxk": auxk}
        return replace(loss, total=loss.total + weight * auxk, terms=terms)

    def _auxk(
        self,
        centred: torch.Tensor,
        error: torch.Tensor,
        dead: torch.Tensor,
        k: int,
        context: TrainingContext,
    ) -> torch.Tensor:
        own = min(k, self.n_latents)
        found = linear_masked_topk(centred, self.W_enc, self.training_bias(), dead, own)
        indices, values = self._merged(*found, k)
        part = sparse_decode(indices, values, self.W_dec, error.new_zeros(self.width))
        left = (error - _Summed.apply(part, self.ranks)).square().sum()
        spread = context.residual_spread(error)
        varies = spread > 0
        return torch.where(varies, left / torch.where(varies, spread, 1.0), 0.0)


class _Summed(torch.autograd.Function):
    """Σ over ranks, whose gradient reaches each rank's part as it is."""

    @staticmethod
    def forward(ctx: FunctionCtx, part: torch.Tensor, ranks: Ranks) -> torch.Tensor:
        return summed_in_pieces([part], ranks)[0]

    @staticmethod
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad, None
