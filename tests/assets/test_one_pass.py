"""One pass for all that is asked together, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipeline.orchestrate.backfill import queue_plan
from pipeline.orchestrate.first_class import execute
from pipeline.orchestrate.instance import instance as open_instance
from pipeline.orchestrate.partitions import cell_key
from pipeline.orchestrate.run import run_plan
from pipeline.plan import Plan
from pipeline.study.names import SaeKey, Source
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from .conftest import FakeStages

PlanOf = Callable[..., Plan]
SITES = ["lm.trained.resid_post.1", "lm.trained.resid_post.3", "lm.trained.mlp_out.2"]
KEYS = ["topk.s0", "relu.s0"]


def metadata_of(workspace: Workspace, asset: str, partition: str) -> dict[str, Any]:
    with open_instance(workspace) as instance:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition]),
            limit=1,
        ).records
    found = records[0].asset_materialization
    assert found is not None
    return {name: value.value for name, value in found.metadata.items()}


def test_sites_of_one_variant_share_one_pass_of_the_language_model(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    sources = [*SITES, "lm.random.resid_post.1"]
    outcome = run_plan(workspace, plan_of(sources, KEYS[:1]))
    assert outcome.succeeded, [run.sentence for run in outcome.failed]
    assert sorted(map(sorted, stages.passes)) == [["lm.random.resid_post.1"], sorted(SITES)]


def test_saes_of_one_source_share_one_read_and_one_sweep(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    assert run_plan(workspace, plan_of(SITES[:2], KEYS)).succeeded
    expected = [[f"{source}/{key}" for key in KEYS] for source in SITES[:2]]
    assert [sorted(read) for read in stages.reads] == [sorted(cells) for cells in expected]
    assert [sorted(sweep) for sweep in stages.sweeps] == [sorted(cells) for cells in expected]


def test_every_cell_has_its_own_run_and_says_whether_it_was_reused(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    outcome = run_plan(workspace, plan_of(SITES[:1], KEYS))
    cells = [run for run in outcome.runs if run.assets == ("sae", "evaluation")]
    assert len(cells) == 2
    reused = [
        metadata_of(workspace, "sae", cell_key(Source.parse(SITES[0]), SaeKey.parse(key)))["reused"]
        for key in KEYS
    ]
    assert reused == [False, True]


def test_the_same_command_again_runs_nothing(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    run_plan(workspace, plan_of(SITES[:1], KEYS))
    again = run_plan(workspace, plan_of(SITES[:1], KEYS))
    assert again.runs == []
    assert again.succeeded


def test_materializing_again_reports_the_work_as_reused(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    run_plan(workspace, plan_of(SITES[:1], KEYS[:1]))
    key = cell_key(Source.parse(SITES[0]), SaeKey.parse(KEYS[0]))
    with open_instance(workspace) as instance:
        assert execute(workspace, instance, ["sae", "evaluation"], partition=key).succeeded
        assert execute(workspace, instance, ["activations"], partition=SITES[0]).succeeded
    assert (len(stages.passes), len(stages.reads), len(stages.sweeps)) == (1, 1, 1)
    assert metadata_of(workspace, "sae", key)["reused"] is True
    assert metadata_of(workspace, "activations", SITES[0])["reused"] is True


def test_work_that_a_fresh_instance_has_not_seen_is_shown_but_not_repeated(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    run_plan(workspace, plan_of(SITES[:1], KEYS[:1]))
    workspace.dagster.rename(workspace.root / "lost")
    assert run_plan(workspace, plan_of(SITES[:1], KEYS[:1])).succeeded
    assert (len(stages.passes), len(stages.reads), len(stages.sweeps)) == (1, 1, 1)
    key = cell_key(Source.parse(SITES[0]), SaeKey.parse(KEYS[0]))
    assert metadata_of(workspace, "evaluation", key)["reused"] is True


def test_a_queued_backfill_shares_passes_whatever_run_comes_first(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    backfill = {"dagster/backfill": queue_plan(workspace, plan_of(SITES, KEYS), title="test")}
    with open_instance(workspace) as instance:
        for source in reversed(SITES):
            assert execute(workspace, instance, ["activations"], partition=source, tags=backfill)
        for key in reversed(KEYS):
            cell = cell_key(Source.parse(SITES[1]), SaeKey.parse(key))
            run = execute(workspace, instance, ["sae", "evaluation"], partition=cell, tags=backfill)
            assert run.succeeded, run.sentence
    assert [len(sites) for sites in stages.passes] == [3]
    assert [len(cells) for cells in stages.reads] == [2]
    assert [len(cells) for cells in stages.sweeps] == [2]


def test_a_range_in_one_run_is_one_pass_per_variant(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    with open_instance(workspace) as instance:
        instance.add_dynamic_partitions("sources", SITES)
        tags = {
            "dagster/asset_partition_range_start": SITES[0],
            "dagster/asset_partition_range_end": SITES[2],
        }
        run = execute(workspace, instance, ["activations"], tags=tags)
        assert run.succeeded, run.sentence
        seen = instance.get_materialized_partitions(dg.AssetKey("activations"))
    assert len(stages.passes) == 1
    assert seen == set(SITES)
    assert metadata_of(workspace, "activations", SITES[1])["rows"] == 400
