"""The evaluation asset: what each SAE is worth, on held-out text."""

# Dagster reads the annotation of `context` as it stands, so annotations are not postponed here.

import math
from typing import TYPE_CHECKING

import dagster as dg

from assets.display import number, picture, table
from assets.failure import stated
from assets.sae import sae
from pipeline.corpus.one_look import one_look
from pipeline.orchestrate.cells import cell_request
from pipeline.orchestrate.partitions import grid
from pipeline.orchestrate.requested import requested_launch, requested_partitions
from pipeline.orchestrate.session import current_report, current_workspace

if TYPE_CHECKING:
    from pipeline.evaluation.run import EvaluationResult

MAIN_METRICS = (
    "fvu",
    "l0",
    "ce_increase_nats",
    "loss_recovered_zero",
    "compute_recovered",
    "dead_eval",
    "mmcs_other_seed",
    "mmcs_random_twin",
)
INTEGRITY = "metrics_are_finite"
DEAD = "dead_on_held_out"
NOTABLE_DEAD_SHARE = 0.3


@dg.asset(
    partitions_def=grid,
    deps=[sae],
    pool="device",
    required_resource_keys={"run_lock"},
    kinds={"duckdb"},
    check_specs=[
        dg.AssetCheckSpec(
            INTEGRITY,
            asset="evaluation",
            blocking=True,
            description="Every metric is a finite number, or has a reason why it is none.",
        ),
        dg.AssetCheckSpec(
            DEAD, asset="evaluation", description="Latents that never fire on held-out text."
        ),
    ],
)
def evaluation(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Held-out metrics of one SAE, with intervals over documents, and its dictionary matches.

    SAEs of one source that are asked for together share one forward pass of the language model.
    """
    from pipeline.evaluation.run import evaluate_cells
    from pipeline.training.run import training_state

    workspace, report = current_workspace(), current_report(context.log)
    with stated(), one_look():
        request = cell_request(workspace, context.partition_key, requested_partitions(context))
        trained = request.only(lambda cell: training_state(workspace, cell) == "done")
        launch = requested_launch(context.run.tags)
        result = trained.made_by(
            lambda cells: evaluate_cells(workspace, cells, report=report, launch=launch)
        )
    return dg.MaterializeResult(
        metadata=_metadata(result), check_results=[_integrity(result), _dead(result)]
    )


def _metadata(result: "EvaluationResult") -> dict[str, object]:
    from pipeline.evaluation.pictures import probe_picture
    from pipeline.training.pictures import frequency_picture

    rows = [
        {
            "metric": name,
            "value": m.value,
            "low": m.ci_low,
            "high": m.ci_high,
            "n": m.n,
            "reason": m.reason,
        }
        for name, m in result.metrics.items()
    ]
    return {
        "reused": result.reused,
        "metrics": table(rows),
        **{
            name: number(result.metrics[name].value)
            for name in MAIN_METRICS
            if name in result.metrics and result.metrics[name].value is not None
        },
        "firing_frequency": picture(frequency_picture(result.firing_frequency), "firing frequency"),
        "probes": picture(probe_picture(result.probes), "probes of labelled tokens"),
        "sae_hash": result.sae_hash,
        "evaluation_hash": result.evaluation_hash,
    }


def _integrity(result: "EvaluationResult") -> dg.AssetCheckResult:
    bad = [
        name
        for name, m in result.metrics.items()
        if (m.value is None and not m.reason)
        or (m.value is not None and not math.isfinite(m.value))
    ]
    return dg.AssetCheckResult(
        check_name=INTEGRITY,
        passed=not bad,
        description=f"not finite and without a reason: {', '.join(bad)}" if bad else "all finite",
    )


def _dead(result: "EvaluationResult") -> dg.AssetCheckResult:
    measured = result.metrics["dead_eval"]
    share = math.nan if measured.value is None else measured.value
    return dg.AssetCheckResult(
        check_name=DEAD,
        passed=share <= NOTABLE_DEAD_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"dead_eval": table([{"share": share, "tokens": measured.n}])},
        description=f"{share:.1%} of the latents never fire on held-out text",
    )
