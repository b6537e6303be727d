"""The table of SAEs whose latents are divided among experts."""

from __future__ import annotations

from pipeline.catalog.columns import Table, columns

_EXPERT_GEOMETRY = Table(
    "expert_geometry",
    "What a mixture of experts learned beside a dense SAE of the same source and seed: duplicates, "
    "where its router points, and how alike the two codes are. A row is made when the later of the "
    "two is evaluated; of SAEs whose evaluation is older than this table, with their next one.",
    columns(
        "sae_experts v id of the SAE whose latents are divided among experts",
        "sae_experts_hash v its content hash",
        "sae_dense v id of an SAE of undivided latents, same source and seed",
        "sae_dense_hash v its content hash",
        "n_experts b experts, an always-on one among them",
        "n_routed b those of them that the router chooses from",
        "cosine_across_experts d mean over latents of the largest cosine with a latent of another "
        "expert",
        "duplicates_across_experts d share of latents for which it is above 0.9",
        "cosine_in_dense d mean over the dense SAE's latents of the largest cosine with another",
        "duplicates_in_dense d share of the dense SAE's latents for which it is above 0.9: what "
        "one undivided dictionary repeats anyway",
        "router_own_cosine d mean cosine of a router row and the mean encoder direction of its "
        "expert",
        "router_other_cosine d mean cosine of a router row and those of the other experts",
        "router_in_down_projection d share of the router's squared norm in the projection to "
        "n_routed dimensions that keeps most of the dense SAE's encoder; NULL above the width",
        "router_in_down_projection_chance d what a random router has: n_routed / width",
        "code_cka d similarity of the two codes on common held-out tokens (linear CKA): 1 where "
        "one is the other rotated and scaled",
        "code_cka_shuffled d the same with one side's tokens permuted, mean of 10 draws: chance",
        "n_common_tokens b tokens behind code_cka, at most 2048",
        "reason v",
    ),
    ("sae_experts", "sae_experts_hash", "sae_dense", "sae_dense_hash"),
)

EXPERT_TABLES = (_EXPERT_GEOMETRY,)
