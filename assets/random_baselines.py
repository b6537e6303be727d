"""The random_baselines asset: trained beside random, for the eye; SQL does not need it."""

from __future__ import annotations

from dataclasses import asdict

import dagster as dg

from assets.display import picture, table
from assets.evaluation import evaluation
from assets.failure import stated
from pipeline.orchestrate.session import current_workspace

MAIN_METRICS = ("fvu", "l0", "dead_eval", "ce_increase_nats", "loss_recovered_zero")
CHECK = "trained_differs_from_random"


@dg.asset(
    deps=[evaluation],
    required_resource_keys={"run_lock"},
    kinds={"duckdb"},
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset="random_baselines",
            description="Where an SAE on random weights does as well as the one on trained ones.",
        )
    ],
)
def random_baselines() -> dg.MaterializeResult:
    """Each SAE on the trained model beside its twins on random weights.

    Both on the same held-out documents, with the interval of the paired difference. In SQL:
    `trained_vs_random`, whether or not this asset was made.
    """
    from pipeline.overview.pictures import baselines_picture
    from pipeline.overview.random_baselines import comparisons, warnings

    with stated():
        found = comparisons(current_workspace())
    lines = warnings(found)
    check = dg.AssetCheckResult(
        check_name=CHECK,
        passed=not lines,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"warnings": table([{"warning": line} for line in lines])},
        description=f"{len(lines)} warnings in {len(found)} comparisons",
    )
    return dg.MaterializeResult(
        metadata={
            "comparisons": table([asdict(c) for c in found if c.metric in MAIN_METRICS]),
            "trained_against_random": picture(baselines_picture(found), "trained against random"),
            "pairs": len({(c.sae, c.twin) for c in found}),
            "warnings": len(lines),
        },
        check_results=[check],
    )
