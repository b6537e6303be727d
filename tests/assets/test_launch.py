"""Where a command says that work runs reaches every stage of its runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.launch.config import LaunchConfig
from pipeline.orchestrate.requested import launch_tag
from pipeline.orchestrate.run import run_plan
from pipeline.plan import Plan
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from .conftest import FakeStages

PlanOf = Callable[[list[str], list[str]], Plan]
SOURCE = "lm.trained.resid_post.1"


def test_a_commands_launch_reaches_harvest_training_and_evaluation(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    launch = LaunchConfig(engine="torchrun", ranks=2)
    assert run_plan(workspace, plan_of([SOURCE], ["topk.s0"]), tags=launch_tag(launch)).succeeded
    assert [where for _, where in stages.launches] == [launch] * 3
    assert [stage for stage, _ in stages.launches] == ["harvest", "training", "evaluation"]


def test_without_a_word_each_stage_asks_the_study(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    assert run_plan(workspace, plan_of([SOURCE], ["topk.s0"])).succeeded
    assert dict(stages.launches) == {
        "harvest": LaunchConfig(),
        "training": None,
        "evaluation": None,
    }
