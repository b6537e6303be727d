"""What an SAE needs besides its source is made before it, whoever asks for the SAE."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.orchestrate.first_class import execute
from pipeline.orchestrate.instance import instance as open_instance
from pipeline.orchestrate.partitions import add_partitions, cell_key
from pipeline.orchestrate.run import CELL_ASSETS, run_plan
from pipeline.plan import Plan
from pipeline.study.names import SaeKey, Source
from pipeline.study.read import parse_study
from pipeline.study.registry import register
from pipeline.workspace import Workspace
from tests.assets.conftest import STUDY, FakeStages

SMALL = "n_latents: 16, k: 2, tokens: 1000"
RECIPES = f"""
  tc: {{architecture: transcoder, write_site: mlp_out, {SMALL}}}
"""
SOURCE = "lm.trained.resid_pre.1"


@pytest.fixture
def recipes(workspace: Workspace, stages: FakeStages) -> None:
    text = STUDY.replace("study: tiny", "study: further").replace(
        "recipes:\n", f"recipes:{RECIPES}"
    )
    register(workspace, parse_study(text, "test"), yaml_text=text)


def test_a_command_stores_the_written_site_in_the_same_pass(
    recipes: None, workspace: Workspace, stages: FakeStages, plan_of: Callable[..., Plan]
) -> None:
    outcome = run_plan(workspace, plan_of([SOURCE], ["tc.s0", "topk.s0"]))
    assert outcome.succeeded
    assert stages.passes == [[SOURCE, "lm.trained.mlp_out.1"]]
    assert stages.reads == [[f"{SOURCE}/tc.s0"], [f"{SOURCE}/topk.s0"]]


def test_one_cell_materialized_alone_makes_its_written_site(
    recipes: None, workspace: Workspace, stages: FakeStages
) -> None:
    source, key = Source.parse(SOURCE), SaeKey.parse("tc.s0")
    stages.stored.add(SOURCE)
    with open_instance(workspace) as instance:
        add_partitions(instance, [source], [key])
        cell = cell_key(source, key)
        outcome = execute(workspace, instance, list(CELL_ASSETS), partition=cell, tags={})
    assert outcome.succeeded, outcome.sentence
    assert stages.passes == [["lm.trained.mlp_out.1"]]
    assert stages.reads == [[f"{SOURCE}/tc.s0"]]
