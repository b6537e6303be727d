"""The random_baselines asset: trained beside random, for the eye; SQL does not need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import dagster as dg

from assets.display import picture, table
from assets.evaluation import evaluation
from assets.failure import stated
from pipeline.orchestrate.session import current_workspace

MAIN_METRICS = ("fvu", "l0", "dead_eval", "ce_increase_nats", "loss_recovered_zero")
CHECK = "trained_differs_from_random"
SEPARATION = "metrics_separate_trained_from_random"
LIKENESS = "dictionaries_separate_trained_from_random"


@dg.asset(
    deps=[evaluation],
    required_resource_keys={"run_lock"},
    kinds={"duckdb"},
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset="random_baselines",
            description="Where an SAE on random weights does as well as the one on trained ones.",
        ),
        dg.AssetCheckSpec(
            SEPARATION,
            asset="random_baselines",
            description="Which metrics cannot tell SAEs on trained weights from their twins.",
        ),
        dg.AssetCheckSpec(
            LIKENESS,
            asset="random_baselines",
            description="Where a dictionary is as like its twin's as like another seed's.",
        ),
    ],
)
def random_baselines() -> dg.MaterializeResult:
    """Each SAE on the trained model beside its twins on random weights.

    Both on the same held-out documents, with the interval of the paired difference; and how often
    their latents fire, and on how many tokens. In SQL: `trained_vs_random`, `latents_vs_random`
    and `latent_histograms`, whether or not this asset was made.
    """
    from pipeline.overview.latent_profiles import histograms, profiles
    from pipeline.overview.pictures import baselines_picture, histograms_picture
    from pipeline.overview.random_baselines import comparisons, warnings
    from pipeline.overview.separation import alike, likenesses, unseparated

    workspace = current_workspace()
    with stated():
        found, like = comparisons(workspace), likenesses(workspace)
        latents, bins = profiles(workspace), histograms(workspace)
    lines = warnings(found)
    frequencies, entropies = (
        histograms_picture(bins, quantity) for quantity in ("firing_frequency", "token_entropy")
    )
    return dg.MaterializeResult(
        metadata={
            "comparisons": table([asdict(c) for c in found if c.metric in MAIN_METRICS]),
            "trained_against_random": picture(baselines_picture(found), "trained against random"),
            "latents": table([asdict(profile) for profile in latents]),
            "firing_frequency": picture(frequencies, "firing frequency"),
            "token_entropy": picture(entropies, "token entropy"),
            "likeness": table([asdict(one) for one in like]),
            "pairs": len({(c.sae, c.twin) for c in found}),
            "warnings": len(lines),
        },
        check_results=[
            _warning(CHECK, lines, f"{len(found)} comparisons"),
            _warning(SEPARATION, unseparated(found), f"{len(found)} comparisons"),
            _warning(LIKENESS, alike(like), f"{len(like)} recipes, sites and weights"),
        ],
    )


def _warning(name: str, lines: Sequence[str], of: str) -> dg.AssetCheckResult:
    """A check that warns and never fails a run."""
    return dg.AssetCheckResult(
        check_name=name,
        passed=not lines,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"warnings": table([{"warning": line} for line in lines])},
        description=f"{len(lines)} warnings in {of}",
    )
