"""Frontiers of the SAEs of a source, from the sums per document that evaluations keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.catalog.views import quoted
from pipeline.catalog.warehouse import query
from pipeline.errors import UserError
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from sae_core.frontier_comparison import Arm

# Name -> the loss' sum and what it is divided by; less is better. Loss not recovered is
# 1 - loss_recovered_zero.
QUANTITIES = {
    "mse": ("squared_error", "n_tokens"),
    "loss_not_recovered": ("ce_spliced - ce_clean", "ce_zero - ce_clean"),
}


def recipes_of(workspace: Workspace, source: str) -> list[str]:
    """The recipes of a source that were evaluated, sorted."""
    sql = f"""
SELECT DISTINCT s.recipe FROM internal.current_saes AS s
JOIN document_sums AS d ON d.sae = s.sae AND d.sae_hash = s.sae_hash
WHERE s.source = {quoted(source)} ORDER BY s.recipe"""
    return [row["recipe"] for row in query(workspace, sql).to_pylist()]


def arms(workspace: Workspace, source: str, recipes: Sequence[str], quantity: str) -> list[Arm]:
    """Sums of each recipe's seeds over the documents, for `sae_core.frontier_comparison`.

    Raises UserError for a quantity or recipe that is not known, and where SAEs were measured on
    different documents.
    """
    import numpy as np

    from sae_core.frontier_comparison import Arm

    if quantity not in QUANTITIES:
        raise UserError(f"{quantity!r} is no quantity of a frontier. Allowed: {list(QUANTITIES)}.")
    loss, weight = QUANTITIES[quantity]
    names = ", ".join(map(quoted, recipes))
    sql = f"""
SELECT s.recipe, s.sae, list(d.document ORDER BY d.document) AS documents,
  list(n_active::DOUBLE ORDER BY d.document) AS active,
  list(n_tokens::DOUBLE ORDER BY d.document) AS tokens,
  list(({loss})::DOUBLE ORDER BY d.document) AS loss,
  list(({weight})::DOUBLE ORDER BY d.document) AS weight
FROM internal.current_saes AS s
JOIN document_sums AS d ON d.sae = s.sae AND d.sae_hash = s.sae_hash
WHERE s.source = {quoted(source)} AND s.recipe IN ({names or "NULL"})
GROUP BY s.recipe, s.sae ORDER BY s.sae"""
    rows = query(workspace, sql).to_pylist()
    if any(None in row[part] for row in rows for part in ("loss", "weight")):
        raise UserError(
            f"{source} has no {quantity}: the language model's losses were not measured on it. "
            "Allowed for it: mse."
        )
    if absent := [name for name in recipes if name not in {row["recipe"] for row in rows}]:
        known = ", ".join(recipes_of(workspace, source)) or "none"
        raise UserError(f"{source} has no evaluated SAE of {absent}. There are: {known}.")
    if len({tuple(row["documents"]) for row in rows}) > 1:
        raise UserError(
            f"the SAEs of {source} were measured on different documents; a frontier compares them "
            "on the same ones. Evaluate them with the same evaluation.tokens."
        )
    parts = ("active", "tokens", "loss", "weight")
    mine = {name: [row for row in rows if row["recipe"] == name] for name in recipes}
    return [
        Arm(name, *(np.array([row[part] for row in mine[name]]) for part in parts))
        for name in recipes
    ]
