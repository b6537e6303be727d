"""The training loss of SAEs that keep each token's k largest latents."""

from __future__ import annotations

import torch
from sae_kernels import CodeSort, linear_topk, sparse_decode

from sae_core.auxk import with_auxk
from sae_core.loss_terms import Activity, LossTerms, activity_of
from sae_core.reconstruction import reconstruction_loss
from sae_core.sae import Sae
from sae_core.training_context import TrainingContext


def topk_losses(
    sae: Sae,
    seen: torch.Tensor,
    target: torch.Tensor,
    context: TrainingContext,
    *,
    linear: torch.Tensor | None = None,
) -> tuple[LossTerms, Activity]:
    """Reconstruction and AuxK where `seen` is encoded and `target` is to be reconstructed.

    z = W_enc `seen` + bias; error = `target` − (W_decᵀ a + b_dec) − `linear`, the part (n, d_out)
    that is made without latents. `seen` (n, d_in) is detached. The configuration is an AuxKConfig.
    """
    n, k, sort = len(seen), sae.config.k_at(context.progress), CodeSort()
    indices, values = linear_topk(seen, sae.W_enc, sae.training_bias(), k, sort=sort)
    error = target - sparse_decode(indices, values, sae.W_dec, sae.b_dec, sort=sort)
    error = error if linear is None else error - linear
    activity = activity_of(indices, values.detach(), n=n, f=sae.n_latents)
    measured, total = reconstruction_loss(error, target, sae.config.loss_scale, context)
    loss = LossTerms(total, {"reconstruction": measured})
    return with_auxk(
        sae, loss, centred=seen, error=error, activity=activity, context=context
    ), activity
