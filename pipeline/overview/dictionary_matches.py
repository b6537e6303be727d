"""How alike dictionaries are: across seeds, weights and widths, beside what chance gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.catalog.warehouse import query
from pipeline.workspace import Workspace

QUERY = """
SELECT pair, sae_a, sae_b, mmcs_ab, mmcs_ba, mmcs_null_ab, n_alive_a, n_alive_b
FROM dictionary_matches ORDER BY pair, sae_a, sae_b
"""


@dataclass(frozen=True)
class Match:
    """Two dictionaries: MMCS both ways over latents that are alive, and that of random ones."""

    pair: str
    sae_a: str
    sae_b: str
    mmcs_ab: float | None
    mmcs_ba: float | None
    mmcs_null_ab: float | None
    n_alive_a: int | None
    n_alive_b: int | None


def matches(workspace: Workspace) -> list[Match]:
    """Every pair of dictionaries that was matched."""
    return [Match(**row) for row in query(workspace, QUERY).to_pylist()]


def summary(found: Sequence[Match]) -> list[dict[str, object]]:
    """One row per kind of pair: how many, the mean MMCS of both directions, chance."""
    rows = []
    for kind in sorted({match.pair for match in found}):
        mine = [match for match in found if match.pair == kind]
        both = [v for m in mine for v in (m.mmcs_ab, m.mmcs_ba) if v is not None]
        null = [m.mmcs_null_ab for m in mine if m.mmcs_null_ab is not None]
        rows.append(
            {
                "pair": kind.replace("_", " "),
                "pairs": len(mine),
                "mean MMCS": sum(both) / len(both) if both else None,
                "lowest": min(both, default=None),
                "random directions": sum(null) / len(null) if null else None,
            }
        )
    return rows
