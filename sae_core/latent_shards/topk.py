"""A rank's latents of a TopK SAE: the k largest are those of all ranks' latents."""

from __future__ import annotations

import torch
from sae_kernels import sparse_decode

from sae_core.architectures.topk import TopKSae
from sae_core.latent_shard import LatentShard
from sae_core.loss_terms import Activity, LossTerms, activity_of
from sae_core.reconstruction import reconstruction_loss
from sae_core.training_context import TrainingContext


class TopKShard(LatentShard, TopKSae):
    """A shard of a TopK SAE."""

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and AuxK of the whole SAE on activations x (n, d)."""
        scaled = self.scaled(x)
        centred = scaled - self.b_dec.detach()
        k = self.config.k_at(context.progress)
        indices, values = self.largest(centred, self.W_enc, self.training_bias(), k)
        part = sparse_decode(indices, values, self.W_dec, scaled.new_zeros(self.width))
        error = scaled - self.made(part)
        activity = activity_of(indices, values.detach(), n=len(x), f=self.n_latents)
        activity = self.of_all(activity)
        measured, total = reconstruction_loss(error, scaled, self.config.loss_scale, context)
        loss = LossTerms(total, {"reconstruction": measured})
        return self.with_auxk(
            loss, centred=centred, error=error, activity=activity, context=context
        ), activity


SHARD = TopKShard
