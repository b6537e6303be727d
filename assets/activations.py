"""The activations asset: one shuffled, checksummed store per source, harvested in one pass."""

# Dagster reads the annotation of `context` as it stands, so annotations are not postponed here.

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from assets.corpus import corpus
from assets.display import number, numbers, table
from assets.failure import stated
from pipeline.errors import StoreError
from pipeline.orchestrate.harvesting import harvest_requested
from pipeline.orchestrate.partitions import sources
from pipeline.orchestrate.requested import requested_launch, requested_partitions
from pipeline.orchestrate.session import current_report, current_workspace
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.harvest.run import HarvestResult

INTEGRITY = "store_integrity"
SHUFFLE = "shuffle_quality"
MASKED = "masked_rows"
NOTABLE_MASKED_SHARE = 0.001


@dg.asset(
    name="activations",
    partitions_def=sources,
    deps=[corpus],
    pool="device",
    required_resource_keys={"run_lock"},
    kinds={"zarr"},
    check_specs=[
        dg.AssetCheckSpec(
            INTEGRITY,
            asset="activations",
            blocking=True,
            description="Every shard has its checksum, every row is there, statistics are finite.",
        ),
        dg.AssetCheckSpec(
            SHUFFLE,
            asset="activations",
            description="The order of rows cannot be told from a uniform one.",
        ),
        dg.AssetCheckSpec(
            MASKED,
            asset="activations",
            description="Rows with non-finite values or extreme norm, left out of training.",
        ),
    ],
)
def _activations(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Activations of one site of one weights variant, for every train token of the corpus.

    Sites of one variant that are asked for together are read in one pass of the language model;
    row i is the same token at every site and in every variant.
    """
    workspace, report = current_workspace(), current_report(context.log)
    own = [str(key) for key in context.partition_keys]
    results, problem = harvest_requested(
        workspace,
        own,
        requested_partitions(context),
        report=report,
        launch=requested_launch(context.run.tags),
    )
    for result in results:
        context.add_asset_metadata(_metadata(result), partition_key=str(result.source))
    if problem is not None:
        for result in results:  # what was made counts, also beside a key that cannot be used
            context.log_event(
                dg.AssetMaterialization(
                    "activations", partition=str(result.source), metadata=_metadata(result)
                )
            )
        with stated():
            raise problem
    return dg.MaterializeResult(
        check_results=[_integrity(workspace, results), _shuffle(results), _masked(results)]
    )


# One run for any range of sources, hence one pass. Set here and not above, where it would warn
# every user that the decorator's parameter is young.
activations = _activations.with_attributes(backfill_policy=dg.BackfillPolicy.single_run())


def _metadata(result: "HarvestResult") -> dict[str, object]:
    return {
        "reused": result.reused,
        "rows": result.n_rows,
        "non_finite_rows": result.n_nonfinite,
        "high_norm_rows": result.n_high_norm,
        "size_mb": number(result.bytes / 1e6),
        "tokens_per_second": number(result.tokens_per_second),
        "seconds": number(result.seconds),
        "mean_norm": number(result.statistics.mean_norm),
        "source_hash": result.source_hash,
        "store": dg.MetadataValue.path(str(result.store_path)),
        "dagster/row_count": result.n_rows,
    }


def _integrity(workspace: Workspace, results: "Sequence[HarvestResult]") -> dg.AssetCheckResult:
    faults = {str(r.source): fault for r in results if (fault := _fault(workspace, r))}
    return dg.AssetCheckResult(
        check_name=INTEGRITY,
        passed=not faults,
        metadata={"stores": len(results), **faults},
        description="; ".join(faults.values()) or "every shard has its checksum",
    )


def _fault(workspace: Workspace, result: "HarvestResult") -> str | None:
    """What is wrong with a store; None where nothing is."""
    from pipeline.store.activation_store import ActivationStore

    try:
        store = ActivationStore.open(workspace, result.source, result.source_hash)
        store.verify()
    except StoreError as error:
        return str(error)
    if store.n_rows != result.n_rows:
        return f"{result.source}: {store.n_rows} rows are stored, {result.n_rows} were harvested"
    moments = (store.statistics.mean_norm, store.statistics.total_variance)
    if not all(math.isfinite(value) for value in moments):
        return f"{result.source}: its statistics are not finite"
    return None


def _shuffle(results: "Sequence[HarvestResult]") -> dg.AssetCheckResult:
    rows = [
        {
            "source": str(result.source),
            "statistic": quality.statistic,
            "value": quality.value,
            "expected": quality.expected,
            "z": quality.z,
            "passed": quality.passed,
        }
        for result in results
        for quality in result.shuffle_quality
    ]
    failed = [row for row in rows if not row["passed"]]
    return dg.AssetCheckResult(
        check_name=SHUFFLE,
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"statistics": table(rows)},
        description="; ".join(
            f"{row['source']}: {row['statistic']} is {row['value']:.4g}, not {row['expected']:.4g}"
            for row in failed
        )
        or "no statistic tells the order from a uniform one",
    )


def _masked(results: "Sequence[HarvestResult]") -> dg.AssetCheckResult:
    shares = {str(r.source): (r.n_nonfinite + r.n_high_norm) / max(r.n_rows, 1) for r in results}
    worst = max(shares, key=lambda name: shares[name])
    return dg.AssetCheckResult(
        check_name=MASKED,
        passed=shares[worst] <= NOTABLE_MASKED_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=numbers(shares),
        description=f"at most {shares[worst]:.2%} of the rows are masked, in {worst}",
    )
