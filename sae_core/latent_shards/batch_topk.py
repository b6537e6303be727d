"""A rank's latents of a BatchTopK SAE: a batch keeps the n·k largest of all ranks' entries."""

from __future__ import annotations

import torch
from sae_kernels import ragged_decode

from sae_core.architectures.batch_topk import BatchTopKSae
from sae_core.global_selection import Place, globally_largest
from sae_core.latent_shard import LatentShard
from sae_core.loss_terms import Activity, LossTerms, activity_of
from sae_core.reconstruction import reconstruction_loss
from sae_core.training_context import TrainingContext


class BatchTopKShard(LatentShard, BatchTopKSae):
    """A shard of a BatchTopK SAE."""

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and AuxK of the whole SAE on activations x (n, d)."""
        scaled = self.scaled(x)
        centred = scaled - self.b_dec.detach()
        count = len(x) * self.config.k_at(context.progress)
        place = Place(0, self.first_latent, self.config.n_latents)
        weight, bias = self.W_enc, self.training_bias()
        code = globally_largest(centred, weight, bias, count, place=place, ranks=self.ranks)
        error = scaled - self.made(ragged_decode(code, self.W_dec, torch.zeros_like(self.b_dec)))
        values = code.values.detach()
        activity = self.of_all(activity_of(code.columns, values, n=len(x), f=self.n_latents))
        measured, total = reconstruction_loss(error, scaled, self.config.loss_scale, context)
        loss = LossTerms(total, {"reconstruction": measured})
        return self.with_auxk(
            loss, centred=centred, error=error, activity=activity, context=context
        ), activity


SHARD = BatchTopKShard
