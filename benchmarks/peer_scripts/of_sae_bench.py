"""What SAEBench's core evaluation says of the scene: its own functions, with their defaults."""

from __future__ import annotations

import sys

import torch
from sae_bench.evals.core.main import (
    get_downstream_reconstruction_metrics,
    get_sparsity_and_variance_metrics,
)
from sae_lens.load_model import HookedProxyLM
from scene import SITE, GivenModel, GivenSae, LinearSae, Scene, Tokens


def measured(scene: Scene, model: HookedProxyLM) -> tuple[dict[str, float], dict[str, float]]:
    """What it says of reconstructions, under its own names, and the scores of losses, under ours.

    SAEBench 0.1.0 has the same two functions.
    """
    row = torch.zeros(1, len(scene.x), dtype=torch.int64)
    variance, _ = get_sparsity_and_variance_metrics(
        GivenSae(scene),
        GivenModel(scene),
        Tokens(row),
        n_batches=1,
        compute_l2_norms=True,
        compute_sparsity_metrics=True,
        compute_variance_metrics=True,
        compute_featurewise_density_statistics=False,
        eval_batch_size_prompts=1,
        model_kwargs={},
    )
    scores = {
        name: get_downstream_reconstruction_metrics(
            LinearSae(scene),
            model,
            Tokens(scene.tokens),
            compute_kl=False,
            compute_ce_loss=True,
            n_batches=1,
            eval_batch_size_prompts=len(scene.tokens),
            ignore_tokens={scene.special},
            exclude_special_tokens_from_reconstruction=excluded,
        )["ce_loss_score"]
        for name, excluded in (("ce_score_sae_bench", False), ("ce_score_sae_lens", True))
    }
    return variance, scores


def main(scene: Scene) -> None:
    """Prints the numbers."""
    variance, scores = measured(scene, HookedProxyLM(scene.language_model(), None, [SITE]))
    numbers = {
        "ev_sae_bench": variance["explained_variance"],
        "ev_legacy": variance["explained_variance_legacy"],
        "mse_sae_bench": variance["mse"],
        "l0": variance["l0"],
        "cosine": variance["cossim"],
        "relative_reconstruction_bias": variance["relative_reconstruction_bias"],
    }
    scene.tell("sae-bench", numbers | scores)


if __name__ == "__main__":
    with torch.no_grad():
        main(Scene(sys.argv[1]))
