"""What SAEBench 0.1.0 says of the scene: the definitions of its paper, by its own functions."""

from __future__ import annotations

import sys

import torch
from sae_bench.evals.core.main import (
    get_downstream_reconstruction_metrics,
    get_sparsity_and_variance_metrics,
)
from sae_lens.load_model import HookedProxyLM
from scene import GivenModel, GivenSae, LinearSae, Scene, Tokens


def main(scene: Scene) -> None:
    """Prints the numbers."""
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
    asked = {"compute_kl": False, "compute_ce_loss": True, "n_batches": 1}
    model = HookedProxyLM(scene.language_model(), None)
    scores = [
        get_downstream_reconstruction_metrics(
            LinearSae(scene),
            model,
            Tokens(scene.tokens),
            eval_batch_size_prompts=len(scene.tokens),
            ignore_tokens={scene.special},
            exclude_special_tokens_from_reconstruction=excluded,
            **asked,
        )["ce_loss_score"]
        for excluded in (False, True)
    ]
    numbers = {
        "ev_legacy": variance["explained_variance"],
        "l0": variance["l0"],
        "cosine": variance["cossim"],
        "relative_reconstruction_bias": variance["relative_reconstruction_bias"],
        "ce_score_sae_bench": scores[0],
        "ce_score_sae_lens": scores[1],
    }
    scene.tell("sae-bench", numbers)


if __name__ == "__main__":
    with torch.no_grad():
        main(Scene(sys.argv[1]))
