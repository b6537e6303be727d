"""The demo's results from SQL: one row per SAE, and whether it is good enough."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.catalog.warehouse import query
from pipeline.workspace import Workspace

MAX_FVU = 0.3
MAX_DEAD_SHARE = 0.3

_SQL = """
SELECT e.site, e.weights, e.seed, e.l0, e.fvu, e.fvu_ci_low, e.fvu_ci_high,
  e.loss_recovered_zero AS loss_recovered, e.compute_recovered, e.dead_eval AS dead_share,
  e.mmcs_other_seed AS mmcs_seed, e.mmcs_random_twin AS mmcs_random
FROM evaluations AS e
WHERE list_contains($saes, e.sae)
ORDER BY e.layer, e.site, list_position($variants, e.weights), e.weights, e.seed
"""


@dataclass(frozen=True)
class Row:
    """One SAE: held-out numbers, None where they cannot be told."""

    site: str
    weights: str
    seed: int
    l0: float | None
    fvu: float | None
    fvu_ci_low: float | None
    fvu_ci_high: float | None
    loss_recovered: float | None
    compute_recovered: float | None
    dead_share: float | None
    mmcs_seed: float | None
    mmcs_random: float | None


def results(workspace: Workspace, saes: list[str], *, variants: list[str]) -> list[Row]:
    """The SAEs' rows, site by site, weights variants in the given order."""
    sql = _SQL.replace("$saes", _list(saes)).replace("$variants", _list(variants))
    return [Row(**row) for row in query(workspace, sql).to_pylist()]


def shortfalls(rows: list[Row]) -> list[str]:
    """What is not good enough: trained SAEs above the largest FVU or dead share, one line each."""
    lines = []
    trained = [row for row in rows if row.weights == "trained"]
    for row in trained:
        for name, value, largest in (
            ("FVU", row.fvu, MAX_FVU),
            ("dead share", row.dead_share, MAX_DEAD_SHARE),
        ):
            if value is None or not value <= largest:
                told = "not known" if value is None else f"{value:.3f}"
                lines.append(f"{row.site} trained s{row.seed}: {name} {told}, above {largest}")
    return lines if trained else ["no SAE on trained weights was evaluated"]


def _list(values: list[str]) -> str:
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"[{quoted}]::VARCHAR[]"
