"""The sae asset: one sparse autoencoder per cell of the grid."""

# Dagster reads the annotation of `context` as it stands, so annotations are not postponed here.

import math
from typing import TYPE_CHECKING

import dagster as dg

from assets.activations import activations
from assets.beta import on_source
from assets.display import numbers, picture
from assets.failure import stated
from pipeline.corpus.one_look import one_look
from pipeline.errors import UserError
from pipeline.orchestrate.cells import cell_request
from pipeline.orchestrate.inputs import make_inputs
from pipeline.orchestrate.partitions import grid
from pipeline.orchestrate.requested import requested_launch, requested_partitions
from pipeline.orchestrate.session import current_report, current_workspace

if TYPE_CHECKING:
    from pipeline.training.run import TrainingResult

INTEGRITY = "weights_integrity"
DEAD = "dead_in_training"
NOTABLE_DEAD_SHARE = 0.3


@dg.asset(
    partitions_def=grid,
    deps=[dg.AssetDep(activations, partition_mapping=on_source())],
    pool="device",
    required_resource_keys={"run_lock"},
    kinds={"pytorch"},
    check_specs=[
        dg.AssetCheckSpec(
            INTEGRITY,
            asset="sae",
            blocking=True,
            description="The weights can be read back, are finite, and the run did not diverge.",
        ),
        dg.AssetCheckSpec(
            DEAD, asset="sae", description="Latents that did not fire in the last training window."
        ),
    ],
)
def sae(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """One SAE: a recipe and a seed, trained on one source.

    SAEs of one source that are asked for together are trained on one pass over its activations;
    each equals the one trained by itself. What a recipe needs besides its source (further sites,
    another SAE's dictionary) is made first where it is missing.
    """
    from pipeline.training.run import train_cells

    workspace, report = current_workspace(), current_report(context.log)
    with stated(), one_look():
        request = cell_request(workspace, context.partition_key, requested_partitions(context))
        launch = requested_launch(context.run.tags)
        make_inputs(workspace, request.own, report=report, launch=launch)
        result = request.made_by(
            lambda cells: train_cells(workspace, cells, report=report, launch=launch)
        )
    return dg.MaterializeResult(
        metadata=_metadata(result), check_results=[_integrity(result), _dead(result)]
    )


def _metadata(result: "TrainingResult") -> dict[str, object]:
    from pipeline.training.pictures import curve_picture

    return {
        "reused": result.reused,
        "status": result.status,
        "trained_on": ", then ".join(result.ways),
        "tokens": result.tokens,
        **numbers(
            {
                "epochs": result.epochs,
                "seconds": result.seconds,
                "tokens_per_second": result.tokens_per_second,
                "share_of_time_waiting_for_data": result.wait_share,
                **_last_interval(result),
            }
        ),
        "training_curve": picture(curve_picture(result.curve), "training curve"),
        "sae_hash": result.sae_hash,
        "folder": dg.MetadataValue.path(str(result.path)),
    }


def _last_interval(result: "TrainingResult") -> dict[str, float]:
    """The last metrics, without the times of that interval: those of the whole training stand."""
    times = ("tokens_per_second", "wait_share")
    return {name: value for name, value in result.final.items() if name not in times}


def _integrity(result: "TrainingResult") -> dg.AssetCheckResult:
    fault = _fault(result)
    return dg.AssetCheckResult(
        check_name=INTEGRITY, passed=fault is None, description=fault or "readable and finite"
    )


def _fault(result: "TrainingResult") -> str | None:
    """What is wrong with the weights; None where nothing is."""
    from pipeline import load

    if result.status != "ok":
        return f"{result.sae}: {result.divergence}"
    try:
        parameters = load(result.path).state_dict()
    except UserError as error:
        return str(error)
    bad = [name for name, tensor in parameters.items() if not bool(tensor.isfinite().all())]
    return f"{result.sae}: {', '.join(bad)} hold values that are not finite" if bad else None


def _dead(result: "TrainingResult") -> dg.AssetCheckResult:
    share = result.final.get("dead_share", math.nan)
    return dg.AssetCheckResult(
        check_name=DEAD,
        passed=share <= NOTABLE_DEAD_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=numbers({"dead_share": share}),
        description=f"{share:.1%} of the latents did not fire in the last window",
    )
