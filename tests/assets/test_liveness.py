"""State tells the truth: after a kill, after Ctrl-C, and when two start the same thing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from assets.definitions import defs
from assets.liveness import dead_runs
from pipeline.errors import WorkspaceError
from pipeline.locks import is_run_alive, run_lock
from pipeline.orchestrate.instance import PROJECT_ROOT
from pipeline.orchestrate.instance import instance as open_instance
from pipeline.orchestrate.interrupts import noticed_interrupts
from pipeline.orchestrate.liveness import reap
from pipeline.orchestrate.process_group import stop_group
from pipeline.orchestrate.run import run_plan
from pipeline.plan import Plan
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from .conftest import FakeStages

PlanOf = Callable[..., Plan]
SOURCE = "lm.trained.resid_post.1"
HOLD = """
import sys, time
from pipeline.locks import is_run_alive, run_lock
from pipeline.workspace import Workspace
with run_lock(Workspace.open(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


def started_run(instance: dg.DagsterInstance) -> str:
    from dagster._core.test_utils import create_run_for_test

    return create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED).run_id


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def left_by_a_dead_process(instance: dg.DagsterInstance, workspace: Workspace) -> str:
    """A started run with a lock file that nobody holds."""
    run_id = started_run(instance)
    path = workspace.locks / "runs" / f"{run_id}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    return run_id


def test_a_run_whose_process_was_killed_is_marked_failed(workspace: Workspace) -> None:
    with open_instance(workspace) as instance:
        run_id = started_run(instance)
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(workspace.root), run_id],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        with holder, holder.stdout:
            assert holder.stdout.readline().strip() == "held"
            assert reap(instance, workspace) == []
            assert status(instance, run_id) == dg.DagsterRunStatus.STARTED
            holder.kill()
            holder.wait()
        assert reap(instance, workspace) == [run_id]
        assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE
        assert reap(instance, workspace) == []


def test_the_daemon_looks_for_dead_runs_by_itself_and_marks_them(workspace: Workspace) -> None:
    assert dead_runs in (defs.sensors or [])
    assert dead_runs.default_status == dg.DefaultSensorStatus.RUNNING
    with open_instance(workspace) as instance:
        run_id = left_by_a_dead_process(instance, workspace)
        said = dead_runs(dg.build_sensor_context(instance))
        assert isinstance(said, dg.SkipReason)
        assert said.skip_message == f"ended: {run_id}"
        assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE


def test_stopping_the_ui_ends_its_runs_and_leaves_no_process(workspace: Workspace) -> None:
    starts_worker = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', *sys.argv[1:]]).wait()"
    )
    with open_instance(workspace) as instance:
        run_id = started_run(instance)
        other = started_run(instance)
        leader = subprocess.Popen(
            [sys.executable, "-c", starts_worker, HOLD, str(workspace.root), run_id],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert leader.stdout is not None
        with leader, leader.stdout, run_lock(workspace, other):
            assert leader.stdout.readline().strip() == "held"
            assert stop_group(workspace, leader) == [run_id]
            assert not is_run_alive(workspace, run_id)
            assert status(instance, run_id) == dg.DagsterRunStatus.CANCELING
            assert status(instance, other) == dg.DagsterRunStatus.STARTED


def test_a_run_that_is_alive_is_spared(workspace: Workspace) -> None:
    with open_instance(workspace) as instance, run_lock(workspace, run_id := started_run(instance)):
        assert reap(instance, workspace) == []
        assert status(instance, run_id) == dg.DagsterRunStatus.STARTED


def test_the_next_command_marks_a_dead_run(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    with open_instance(workspace) as instance:
        run_id = left_by_a_dead_process(instance, workspace)
        run_plan(workspace, plan_of([SOURCE], ["topk.s0"]))
        assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE


def test_ctrl_c_stops_the_whole_loop_and_the_next_command_goes_on(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    stages.while_training = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_plan(workspace, plan_of([SOURCE, "lm.trained.resid_post.2"], ["topk.s0", "topk.s1"]))
    assert len(stages.reads) == 1
    assert stages.trained == set()
    with open_instance(workspace) as instance:
        newest = instance.get_runs(limit=1)[0]
        assert newest.status == dg.DagsterRunStatus.CANCELED
        assert not [run for run in instance.get_runs() if not run.is_finished]
    stages.while_training = lambda: None
    assert run_plan(workspace, plan_of([SOURCE], ["topk.s0", "topk.s1"])).succeeded


def test_a_signal_is_noticed_whoever_handled_it() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with noticed_interrupts() as interrupted:
            assert not interrupted()
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupted()
            assert interrupted()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]


def test_a_partition_that_another_process_makes_is_refused(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(workspace: Workspace, cells: object, **_: object) -> None:
        raise WorkspaceError("topk.s0 is already being made by process 1")

    monkeypatch.setattr("pipeline.training.run.train_cells", taken)
    outcome = run_plan(workspace, plan_of([SOURCE], ["topk.s0"]))
    assert "already being made by process 1" in outcome.failed[0].sentence


def test_a_cell_beside_one_that_another_process_makes_is_made_alone(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_taken(workspace: Workspace, cells: list, **_: object) -> list:
        if any(cell.key.seed == 1 for cell in cells):
            raise WorkspaceError("topk.s1 is already being made by process 1")
        return stages.train_cells(workspace, cells)

    monkeypatch.setattr("pipeline.training.run.train_cells", half_taken)
    outcome = run_plan(workspace, plan_of([SOURCE], ["topk.s0", "topk.s1"]))
    assert stages.trained == {f"{SOURCE}/topk.s0"}
    assert len(outcome.failed) == 1
