"""The dictionary_matches asset: how alike dictionaries are, for the eye; SQL does not need it."""

from __future__ import annotations

from dataclasses import asdict

import dagster as dg

from assets.display import picture, table
from assets.evaluation import evaluation
from assets.failure import stated
from pipeline.orchestrate.session import current_workspace


@dg.asset(
    deps=[evaluation],
    required_resource_keys={"run_lock"},
    kinds={"duckdb"},
)
def dictionary_matches() -> dg.MaterializeResult:
    """The overview of dictionary matches across seeds, weights and widths.

    MMCS both ways beside that of random directions; and mixtures of experts beside dense SAEs. In
    SQL: `dictionary_matches`, `seed_stability` and `expert_geometry`, whether or not this asset was
    made.
    """
    from pipeline.overview.dictionary_matches import matches, summary
    from pipeline.overview.expert_geometry import expert_geometry
    from pipeline.overview.pictures import matches_picture

    with stated():
        workspace = current_workspace()
        found, experts = matches(workspace), expert_geometry(workspace)
    return dg.MaterializeResult(
        metadata={
            "summary": table(summary(found)),
            "matches": table([asdict(match) for match in found]),
            "mmcs": picture(matches_picture(found), "MMCS by kind of pair"),
            "pairs": len(found),
            **({"experts": table(experts)} if experts else {}),
        }
    )
