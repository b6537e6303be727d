"""What may stop a run, and what only warns."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg

from pipeline.orchestrate.instance import instance as open_instance
from pipeline.orchestrate.partitions import cell_key
from pipeline.orchestrate.run import run_plan
from pipeline.plan import Plan
from pipeline.study.names import SaeKey, Source
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from .conftest import FakeStages

PlanOf = Callable[..., Plan]
SOURCE, KEY = "lm.trained.resid_post.1", "topk.s0"


def check(workspace: Workspace, asset: str, name: str) -> tuple[bool, str]:
    key = dg.AssetCheckKey(dg.AssetKey(asset), name)
    with open_instance(workspace) as instance:
        records = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    event = records[0].event
    assert event is not None
    assert event.dagster_event is not None
    result = event.dagster_event.asset_check_evaluation_data
    return result.passed, result.severity.value


def test_a_damaged_shard_stops_the_source_and_names_the_shard(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    stages.damaged.add(SOURCE)
    outcome = run_plan(workspace, plan_of([SOURCE], [KEY]))
    assert check(workspace, "activations", "store_integrity") == (False, "ERROR")
    assert outcome.skipped == [f"{SOURCE}/{KEY}"]
    assert stages.reads == []
    assert f"shard 3 of {SOURCE} is damaged" in outcome.failed[0].sentence


def test_a_diverged_sae_is_not_evaluated(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    stages.diverged.add(f"{SOURCE}/{KEY}")
    outcome = run_plan(workspace, plan_of([SOURCE], [KEY, "topk.s1"]))
    assert [run.assets for run in outcome.failed] == [("sae", "evaluation")]
    assert "diverged at step 13 (l1 was the first" in outcome.failed[0].sentence
    assert stages.judged == {f"{SOURCE}/topk.s1"}


def test_dead_latents_warn_and_stop_nothing(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    stages.dead_share = 0.9
    assert run_plan(workspace, plan_of([SOURCE], [KEY])).succeeded
    assert check(workspace, "sae", "dead_in_training") == (False, "WARN")


def test_a_sound_run_passes_every_check(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    assert run_plan(workspace, plan_of([SOURCE], [KEY])).succeeded
    for asset, name in (
        ("activations", "store_integrity"),
        ("activations", "masked_rows"),
        ("sae", "weights_integrity"),
        ("evaluation", "metrics_are_finite"),
        ("random_baselines", "trained_differs_from_random"),
        ("random_baselines", "metrics_separate_trained_from_random"),
        ("random_baselines", "dictionaries_separate_trained_from_random"),
    ):
        assert check(workspace, asset, name)[0]


def test_pictures_and_metrics_are_shown_inline(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    run_plan(workspace, plan_of([SOURCE], [KEY]))
    key = cell_key(Source.parse(SOURCE), SaeKey.parse(KEY))
    with open_instance(workspace) as instance:
        shown = {
            asset: instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key]), limit=1
            )
            .records[0]
            .asset_materialization.metadata  # type: ignore[union-attr]
            for asset in ("sae", "evaluation")
        }
    curve = base64.b64encode(b"curve").decode()
    assert f"(data:image/png;base64,{curve})" in shown["sae"]["training_curve"].value
    assert shown["sae"]["fvu"].value == 0.2
    assert shown["sae"]["tokens_per_second"].value > 0
    histogram = base64.b64encode(b"histogram").decode()
    assert histogram in shown["evaluation"]["firing_frequency"].value
    assert "data:image/png" in shown["evaluation"]["probes"].value
    assert shown["evaluation"]["fvu"].value == 0.2
    assert "| fvu | 0.2 | 0.1 | 0.3 | 100 | – |" in shown["evaluation"]["metrics"].value
