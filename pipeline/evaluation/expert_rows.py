"""Rows of `expert_geometry`: what a mixture of experts learned, beside dense SAEs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.neighbours import experts_beside_dense
from pipeline.evaluation.pairing import Measurements
from pipeline.evaluation.rows import Row
from pipeline.workspace import Workspace
from sae_core.firing_together import CodeSample
from sae_core.metrics.expert_duplicates import DUPLICATE

if TYPE_CHECKING:
    from sae_core.code_similarity import CodeSimilarity
    from sae_core.sae import Sae

_UNLIKE = "fewer than two common tokens, or a code that is the same on all of them"


def expert_rows(
    workspace: Workspace, fresh: Sequence[Evaluation], sums: Measurements
) -> Iterator[Row]:
    """A row per pair of a mixture of experts and a dense SAE of the same source and seed.

    `fresh` were measured just now: of each pair one is among them, the other measured too.
    """
    from pipeline.load_sae import load

    @lru_cache(maxsize=8)
    def loaded(one: Evaluation) -> Sae:
        return load(one.folder)

    for mixture, dense in experts_beside_dense(workspace, fresh):
        similarity = _similarity(sums, mixture, dense)
        yield {
            "sae_experts": mixture.sae,
            "sae_experts_hash": mixture.sae_hash,
            "sae_dense": dense.sae,
            "sae_dense_hash": dense.sae_hash,
            **_duplicates(sums, mixture, dense),
            **_router(loaded(mixture), loaded(dense)),
            "code_cka": similarity.cka if similarity else None,
            "code_cka_shuffled": similarity.cka_shuffled if similarity else None,
            "n_common_tokens": similarity.n_tokens if similarity else 0,
            "reason": None if similarity else _UNLIKE,
        }


def _duplicates(sums: Measurements, mixture: Evaluation, dense: Evaluation) -> Row:
    across = sums.of(mixture).tallies["expert_duplicates"]["cosine_across_experts"]
    within = sums.of(dense).tallies["dictionary_geometry"]["max_cosine"]
    return {
        "cosine_across_experts": float(across.mean()),
        "duplicates_across_experts": float((across > DUPLICATE).mean()),
        "cosine_in_dense": _mean(within),
        "duplicates_in_dense": _mean(np.where(np.isnan(within), np.nan, within > DUPLICATE)),
    }


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _router(mixture: Sae, dense: Sae) -> Row:
    from sae_core.expert_geometry import router_geometry

    router, n_experts = mixture.router, mixture.n_experts
    assert router is not None
    assert n_experts is not None
    width = mixture.n_latents // n_experts
    routed = mixture.W_enc.detach()[(n_experts - len(router)) * width :]
    found = router_geometry(router.detach(), routed, dense.W_enc.detach())
    return {
        "n_experts": n_experts,
        "n_routed": len(router),
        "router_own_cosine": found.own_cosine,
        "router_other_cosine": found.other_cosine,
        "router_in_down_projection": found.in_down_projection,
        "router_in_down_projection_chance": found.chance,
    }


def _similarity(
    sums: Measurements, mixture: Evaluation, dense: Evaluation
) -> CodeSimilarity | None:
    from sae_core.code_similarity import code_similarity

    # Of one source, both were measured on the same activations, drawn ones too.
    samples = [CodeSample.of(sums.of(one).tallies["code_sample"]) for one in (mixture, dense)]
    return code_similarity(*samples)
