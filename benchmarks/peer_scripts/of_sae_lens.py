"""What SAELens' evals say of the scene: its own functions, called as its `run_evals` calls them."""

from __future__ import annotations

import sys

import torch
from sae_lens.evals import (
    get_downstream_reconstruction_metrics,
    get_sparsity_and_variance_metrics,
)
from sae_lens.load_model import HookedProxyLM
from sae_lens.training.activation_scaler import ActivationScaler
from scene import SITE, GivenModel, GivenSae, LinearSae, Scene, Tokens


def main(scene: Scene) -> None:
    """Prints the numbers."""
    row = torch.zeros(1, len(scene.x), dtype=torch.int64)
    asked = {"compute_l2_norms": True, "compute_sparsity_metrics": True}
    variance, _ = get_sparsity_and_variance_metrics(
        GivenSae(scene),
        GivenModel(scene),
        Tokens(row),
        ActivationScaler(),
        n_batches=1,
        compute_variance_metrics=True,
        compute_featurewise_density_statistics=False,
        eval_batch_size_prompts=1,
        model_kwargs={},
        **asked,
    )
    losses = get_downstream_reconstruction_metrics(
        LinearSae(scene),
        HookedProxyLM(scene.language_model(), None, [SITE]),
        Tokens(scene.tokens),
        ActivationScaler(),
        compute_kl=False,
        compute_ce_loss=True,
        n_batches=1,
        eval_batch_size_prompts=len(scene.tokens),
        ignore_tokens=[scene.special],
    )
    numbers = {
        "ev_sae_lens": variance["explained_variance"],
        "ev_legacy": variance["explained_variance_legacy"],
        "mse_sae_lens": variance["mse"],
        "l2_ratio_sae_lens": variance["l2_ratio"],
        "l1_sae_lens": variance["l1"],
        "l0": variance["l0"],
        "cosine": variance["cossim"],
        "relative_reconstruction_bias": variance["relative_reconstruction_bias"],
        "ce_score_sae_lens": losses["ce_loss_score"],
    }
    scene.tell("sae-lens", numbers)


if __name__ == "__main__":
    with torch.no_grad():
        main(Scene(sys.argv[1]))
