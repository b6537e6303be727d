"""Keys typed in the UI are checked by nobody but us: a sentence, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from pipeline.errors import SiteError, StudyError
from pipeline.orchestrate.first_class import execute
from pipeline.orchestrate.instance import instance as open_instance
from pipeline.orchestrate.run import run_plan
from pipeline.orchestrate.session import session
from pipeline.plan import Plan
from pipeline.progress import silent
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from .conftest import FakeStages

GOOD = "lm.trained.resid_post.1"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nonsense", "is not a source. A source is <model>.<weights>.<site>"),
        ("ml.trained.resid_post.1", "'ml' is not a model of this workspace. Did you mean 'lm'?"),
        ("lm.tranied.resid_post.1", "Did you mean 'trained'?"),
        ("lm.trained.resid_pots.1", "Did you mean 'resid_post'?"),
        ("lm.trained.resid_post.9", "beyond the depth of 'lm', which has 4 layers"),
        ("lm.trained.mlp_act.1", "this model has no mlp_act"),
    ],
)
def test_a_source_nobody_can_make_fails_with_the_sentence(
    workspace: Workspace, stages: FakeStages, source: str, sentence: str
) -> None:
    with open_instance(workspace) as instance:
        instance.add_dynamic_partitions("sources", [source])
        run = execute(workspace, instance, ["activations"], partition=source)
    assert not run.succeeded
    assert sentence in run.sentence


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("topk", "is not an SAE key. It is <recipe>.s<seed>"),
        ("tokp.s0", "'tokp' is not a recipe of this workspace. Did you mean 'topk'?"),
        ("topk.s-1", "is not an SAE key"),
    ],
)
def test_an_sae_key_nobody_can_make_fails_with_the_sentence(
    workspace: Workspace, stages: FakeStages, key: str, sentence: str
) -> None:
    partition = dg.MultiPartitionKey({"source": GOOD, "sae": key})
    with open_instance(workspace) as instance:
        instance.add_dynamic_partitions("sources", [GOOD])
        instance.add_dynamic_partitions("saes", [key])
        run = execute(workspace, instance, ["sae", "evaluation"], partition=partition)
    assert not run.succeeded
    assert sentence in run.sentence


def test_a_bad_key_in_a_range_does_not_stop_the_good_ones(
    workspace: Workspace, stages: FakeStages
) -> None:
    keys = [GOOD, "nonsense", "lm.random.resid_post.2"]
    tags = {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[-1],
    }
    with open_instance(workspace) as instance:
        instance.add_dynamic_partitions("sources", keys)
        run = execute(workspace, instance, ["activations"], tags=tags)
        made = instance.get_materialized_partitions(dg.AssetKey("activations"))
    assert not run.succeeded
    assert "'nonsense' is not a source" in run.sentence
    assert made == {keys[0], keys[2]}


def test_a_bad_key_beside_a_good_one_is_left_to_its_own_run(
    workspace: Workspace, stages: FakeStages
) -> None:
    cells = [f"{key}|{GOOD}" for key in ("topk.s0", "tokp.s0", "relu.s0")]
    with open_instance(workspace) as instance:
        instance.add_dynamic_partitions("sources", [GOOD])
        instance.add_dynamic_partitions("saes", ["topk.s0", "tokp.s0", "relu.s0"])
        assert execute(workspace, instance, ["activations"], partition=GOOD).succeeded
        tags = {"sae/together": str(cells).replace("'", '"')}
        key = dg.MultiPartitionKey({"source": GOOD, "sae": "topk.s0"})
        assert execute(
            workspace, instance, ["sae", "evaluation"], partition=key, tags=tags
        ).succeeded
    assert stages.reads == [[f"{GOOD}/topk.s0", f"{GOOD}/relu.s0"]]


def test_a_layer_beyond_the_depth_is_refused_before_anything_runs(
    plan_of: Callable[..., Plan], stages: FakeStages
) -> None:
    with pytest.raises(SiteError, match=r"layer 7 is beyond the depth of 'lm'.* 0 to 3"):
        plan_of([GOOD, "lm.trained.resid_post.7"], ["topk.s0"])
    assert stages.passes == []


def test_an_unknown_recipe_is_refused_before_anything_runs(
    plan_of: Callable[..., Plan], stages: FakeStages
) -> None:
    with pytest.raises(StudyError, match="Did you mean 'topk'"):
        plan_of([GOOD], ["topc.s0"])


def test_no_study_is_said_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = Workspace.open(tmp_path_factory.mktemp("empty"))
    with session(empty, silent), open_instance(empty) as instance:
        run = execute(empty, instance, ["corpus"])
    assert not run.succeeded
    assert run.sentence.startswith(f"No study is registered in {empty.root}")
    assert "`sae run STUDY`, or `sae init`" in run.sentence


def test_a_failed_source_does_not_stop_the_others(
    workspace: Workspace, stages: FakeStages, plan_of: Callable[..., Plan]
) -> None:
    outcome = run_plan(workspace, plan_of(["lm.trained.mlp_act.1", GOOD], ["topk.s0"]))
    assert [run.partition for run in outcome.failed] == ["lm.trained.mlp_act.1"]
    assert outcome.skipped == ["lm.trained.mlp_act.1/topk.s0"]
    assert stages.judged == {f"{GOOD}/topk.s0"}
