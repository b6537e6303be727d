"""`sae run` and `sae backfill` as a person or a script types them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.cli.app import main
from pipeline.failures import failures
from pipeline.orchestrate.instance import instance as open_instance
from pipeline.study.registry import Registry
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from .conftest import FakeStages

SOURCE = "lm.trained.resid_post.0"
OTHER = """
study: other
models:
  lm: {path: embedded}
sites: [resid_post.0]
recipes:
  topk: {architecture: topk, n_latents: 32, k: 2, tokens: 1000}
"""


def sae(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_dry_run_prints_the_plan_and_changes_nothing(
    workspace: Workspace, stages: FakeStages, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sae("backfill", "--layers", "0,2-3", "--seeds", "0-1", "--dry-run", "--json") == 0
    plan = said(capsys)["plan"]
    assert len(plan["sources"]) == 3
    assert len(plan["cells"]) == 12
    assert [len(one["sites"]) for one in plan["passes"]] == [3]
    assert stages.passes == []
    assert not workspace.dagster.exists()


def test_a_dry_run_of_a_new_study_registers_nothing(
    workspace: Workspace, stages: FakeStages, tmp_path: Path
) -> None:
    study = tmp_path / "other.yaml"
    study.write_text(OTHER.replace("topk:", "wide:"))
    assert sae("run", str(study), "--dry-run") == 0
    assert list(Registry.load(workspace).studies) == ["tiny"]


def test_a_backfill_adds_the_partitions_and_makes_them(
    workspace: Workspace, stages: FakeStages, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sae("backfill", "tiny", "--seeds", "3", "--recipes", "topk", "--json") == 0
    outcome = said(capsys)
    assert [run["succeeded"] for run in outcome["runs"]] == [True] * 4
    assert stages.judged == {f"{SOURCE}/topk.s3"}
    with open_instance(workspace) as instance:
        assert instance.get_dynamic_partitions("sources") == [SOURCE]
        assert instance.get_dynamic_partitions("saes") == ["topk.s3"]


def test_a_failure_exits_with_1_and_says_why(
    workspace: Workspace, stages: FakeStages, capsys: pytest.CaptureFixture[str]
) -> None:
    stages.damaged.add(SOURCE)
    assert sae("backfill", "--recipes", "topk") == 1
    errors = capsys.readouterr().err
    assert f"failed: activations of {SOURCE}: shard 3 of {SOURCE} is damaged" in errors
    assert f"not made, for want of what they need: {SOURCE}/topk.s0" in errors
    assert sae("status") == 0
    assert f"activations of {SOURCE}" in (told := capsys.readouterr().out)
    assert f"shard 3 of {SOURCE} is damaged" in told
    stages.damaged.clear()
    assert sae("backfill", "--recipes", "topk") == 0
    assert failures(workspace) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["backfill", "--layers", "9"], "layer 9 is beyond the depth of 'lm', which has 4 layers"),
        (["backfill", "--layers", "9"], "The sites of 'lm': resid_pre.0-3, resid_post.0-3,"),
        (["backfill", "--sites", "resid_pots"], "Did you mean 'resid_post'"),
        (["backfill", "--sites", "resid_pots"], "The sites of 'lm': resid_pre.0-3,"),
        (["backfill", "--recipes", "topc"], "Did you mean 'topk'"),
        (["backfill", "--model", "ml"], "Did you mean 'lm'"),
        (["backfill", "tyni"], "Its studies: tiny"),
        (["run", "nowhere.yaml"], "cannot be read as a study"),
    ],
)
def test_bad_input_exits_with_2_before_anything_runs(
    workspace: Workspace,
    stages: FakeStages,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    assert sae(*arguments) == 2
    assert sentence in capsys.readouterr().err
    assert stages.passes == []


def test_a_taken_name_is_refused_unless_replaced(
    workspace: Workspace,
    stages: FakeStages,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = tmp_path / "other.yaml"
    study.write_text(OTHER)
    for arguments in (["run", str(study)], ["run", str(study), "--dry-run"]):
        assert sae(*arguments) == 2
        assert "recipes.topk.n_latents: 16 in the workspace, 32 here" in capsys.readouterr().err
    assert sae("run", str(study), "--replace") == 0


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(
    workspace: Workspace, stages: FakeStages, capsys: pytest.CaptureFixture[str]
) -> None:
    stages.while_training = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert sae("backfill") == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_a_queued_backfill_says_whether_anybody_will_run_it(
    workspace: Workspace, stages: FakeStages, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sae("backfill", "--queue", "--json") == 0
    answer = said(capsys)
    assert answer["daemon_is_running"] is False
    assert stages.passes == []
    with open_instance(workspace) as instance:
        assert instance.get_backfill(answer["backfill"]) is not None


def test_without_a_study_the_way_to_one_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAE_WORKSPACE", str(tmp_path / "empty"))
    assert sae("backfill") == 2
    assert "sae init" in capsys.readouterr().err
