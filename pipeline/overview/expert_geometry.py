"""What mixtures of experts learned beside dense SAEs of the same source and seed."""

from __future__ import annotations

from pipeline.catalog.warehouse import query
from pipeline.workspace import Workspace

QUERY = """
SELECT sae_experts, sae_dense, n_experts, duplicates_across_experts, duplicates_in_dense,
    router_own_cosine, router_other_cosine, router_in_down_projection,
    router_in_down_projection_chance, code_cka, code_cka_shuffled
FROM expert_geometry ORDER BY sae_experts, sae_dense
"""


def expert_geometry(workspace: Workspace) -> list[dict[str, object]]:
    """One row per pair; none where no mixture of experts was measured beside a dense SAE."""
    return query(workspace, QUERY).to_pylist()
