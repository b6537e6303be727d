"""dagster.yaml is the configuration in use, and everything stays in one folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance.config import PoolGranularity
from dagster._core.instance.ref import InstanceRef

from assets.definitions import defs
from pipeline.errors import WorkspaceError
from pipeline.locks import cell_lock
from pipeline.orchestrate.backfill import is_daemon_alive, queue_plan
from pipeline.orchestrate.instance import PROJECT_ROOT, directories
from pipeline.orchestrate.instance import instance as open_instance
from pipeline.orchestrate.run import run_plan
from pipeline.orchestrate.server import (
    PortInUseError,
    check_port,
    serve,
    started,
    write_home,
)
from pipeline.plan import Plan
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from .conftest import FakeStages

PlanOf = Callable[..., Plan]
SOURCE = "lm.trained.resid_post.1"


def test_the_instance_is_configured_by_the_projects_file(workspace: Workspace) -> None:
    with open_instance(workspace) as instance:
        pools = instance.get_concurrency_config().pool_config
        assert pools.pool_granularity == PoolGranularity.RUN
        assert pools.default_pool_limit == 1
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 1


def test_a_bare_dagster_dev_in_the_project_uses_the_default_workspaces_folder() -> None:
    config = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    default = Workspace(PROJECT_ROOT / "workspace")
    for part, value in directories(default).items():
        relative = json.loads(json.dumps(value).replace(f"{PROJECT_ROOT}/", ""))
        assert config[part] == relative


def test_no_variable_has_to_be_set(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    with open_instance(workspace) as instance:
        assert instance.get_runs() == []


def test_all_that_dagster_writes_stays_in_one_folder(
    workspace: Workspace,
    stages: FakeStages,
    plan_of: PlanOf,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before = {path.name for path in PROJECT_ROOT.iterdir()}
    assert run_plan(workspace, plan_of([SOURCE], ["topk.s0"])).succeeded
    known = {"studies", "tables", "locks", "workspace.json", ".dagster", "warehouse.duckdb"}
    assert {path.name for path in workspace.root.iterdir()} <= known
    assert list(elsewhere.iterdir()) == []
    assert {path.name for path in PROJECT_ROOT.iterdir()} <= before | {".pytest_cache"}
    assert any(workspace.dagster.rglob("*.db"))


def test_a_cli_run_can_be_found_and_started_again_by_the_ui(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    run_plan(workspace, plan_of([SOURCE], ["topk.s0"]))
    with open_instance(workspace) as instance:
        runs = instance.get_runs()
        cell = {dg.AssetKey("sae"), dg.AssetKey("evaluation")}
        assert [run.asset_selection for run in runs].count(cell) == 1
        for run in runs:
            origin = run.remote_job_origin
            assert origin is not None
            assert origin.repository_origin.code_location_origin.location_name == "sae"
            assert run.tags["dagster/max_retries"] == "0"


def test_the_ui_gets_the_same_instance(workspace: Workspace) -> None:
    home = write_home(workspace)
    assert home == workspace.dagster
    config = yaml.safe_load((home / "dagster.yaml").read_text())
    given = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    assert config == {**given, **directories(workspace)}
    ref = InstanceRef.from_dir(str(home))
    with dg.DagsterInstance.from_ref(ref) as ours, open_instance(workspace) as cli:
        cli.add_dynamic_partitions("sources", [SOURCE])
        assert ours.get_dynamic_partitions("sources") == [SOURCE]


def test_a_port_in_use_is_named_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"Port {port} .* --port {port + 1}"):
            check_port(port)
    check_port(port)


def test_a_second_ui_is_told_where_the_first_one_is(workspace: Workspace) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        cell_lock(workspace, "ui", owner="http://127.0.0.1:3000"),
        pytest.raises(WorkspaceError, match=r"is open already at http://127.0.0.1:3000 \(process"),
    ):
        serve(workspace, port=port, on_ready=print, on_stopping=print)


LISTENS = """
import socket, sys, time
with socket.socket() as server:
    server.bind(("127.0.0.1", int(sys.argv[1])))
    server.listen()
    time.sleep(600)
"""


def test_ctrl_c_is_answered_before_the_servers_have_ended(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    servers: list[subprocess.Popen[bytes]] = []
    told: list[str] = []

    def listening(command: list[str], **place: Any) -> subprocess.Popen[bytes]:
        servers.append(started([sys.executable, "-c", LISTENS, str(port)], **place))
        return servers[0]

    def ready(address: str) -> None:
        told.append(address)
        signal.raise_signal(signal.SIGINT)

    def stopping() -> None:
        told.append(f"stopping {servers[0].poll()}")

    monkeypatch.setattr("pipeline.orchestrate.server.started", listening)
    assert serve(workspace, port=port, on_ready=ready, on_stopping=stopping) == 0
    assert told == [f"http://127.0.0.1:{port}", "stopping None"]
    assert servers[0].poll() is not None


def test_a_queued_plan_is_a_backfill_of_what_is_missing(
    workspace: Workspace, stages: FakeStages, plan_of: PlanOf
) -> None:
    stages.stored.add(SOURCE)
    other = "lm.random.resid_post.1"
    stages.stored.add(other)
    stages.trained.add(f"{SOURCE}/topk.s0")
    stages.judged.add(f"{SOURCE}/topk.s0")
    plan = plan_of([SOURCE, other], ["topk.s0"])
    assert not is_daemon_alive(workspace)
    backfill_id = queue_plan(workspace, plan, title="tiny")
    with open_instance(workspace) as instance:
        backfill = instance.get_backfill(backfill_id)
        assert backfill is not None
        assert backfill.title == "tiny"
        target = backfill.get_asset_backfill_data(defs.resolve_asset_graph()).target_subset
        cells = target.get_partitions_subset(dg.AssetKey("evaluation")).get_partition_keys()
    assert {str(cell) for cell in cells} == {f"topk.s0|{other}"}
    assert dg.AssetKey("activations") not in target.partitions_subsets_by_asset_key


def test_the_uis_server_hears_sigint_though_a_shell_ignores_it(tmp_path: Path) -> None:
    asks = "import signal, sys; sys.exit(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        command = [sys.executable, "-c", asks]
        server = started(command, folder=tmp_path, environment=dict(os.environ))
        assert server.wait(timeout=60) == 0
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, previous)
