"""Hands a plan to the daemon: a backfill that the UI shows under Runs > Backfills."""

from __future__ import annotations

import time

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.utils import make_new_backfill_id

from pipeline.orchestrate.instance import instance as open_instance
from pipeline.orchestrate.liveness import reap
from pipeline.orchestrate.partitions import add_partitions, cell_key, grid, sources
from pipeline.orchestrate.run import CELL_ASSETS, OVERVIEW_ASSETS
from pipeline.plan import Plan
from pipeline.workspace import Workspace

_FRESH_SECONDS = 90.0  # the daemon sends a heartbeat every 30


def queue_plan(workspace: Workspace, plan: Plan, *, title: str) -> str:
    """Queues what the plan says is missing; gives the backfill's id.

    The daemon that `sae ui` runs starts it; until one runs, it waits.
    """
    with open_instance(workspace) as instance:
        reap(instance, workspace)
        add_partitions(instance, [work.source for work in plan.sources], plan.keys)
        backfill = PartitionBackfill.from_asset_graph_subset(
            backfill_id=make_new_backfill_id(),
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=instance,
            asset_graph_subset=_subset(plan),
            title=title,
            description=f"{len(plan.missing_cells)} SAEs, queued by `sae backfill --queue`",
            run_config=None,
        )
        instance.add_backfill(backfill)
        return backfill.backfill_id


def is_daemon_alive(workspace: Workspace) -> bool:
    """Whether a daemon that starts backfills was heard of in the last minute and a half."""
    with open_instance(workspace) as instance:
        beat = instance.get_daemon_heartbeats().get("BACKFILL")
        return beat is not None and time.time() - beat.timestamp < _FRESH_SECONDS


def _subset(plan: Plan) -> AssetGraphSubset:
    harvests = [str(work.source) for work in plan.missing_sources]
    cells = [str(cell_key(w.cell.source, w.cell.key)) for w in plan.missing_cells]
    partitioned = {
        dg.AssetKey("activations"): sources.subset_with_partition_keys(harvests),
        **{dg.AssetKey(name): grid.subset_with_partition_keys(cells) for name in CELL_ASSETS},
    }
    return AssetGraphSubset(
        partitions_subsets_by_asset_key={
            key: subset for key, subset in partitioned.items() if not subset.is_empty
        },
        non_partitioned_asset_keys={dg.AssetKey(n) for n in ("corpus", *OVERVIEW_ASSETS)},
    )
