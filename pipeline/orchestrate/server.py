"""The UI and its daemon, on 127.0.0.1, for one workspace."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from pipeline import atomic
from pipeline.errors import UserError, WorkspaceError
from pipeline.locks import cell_holder, cell_lock
from pipeline.orchestrate.instance import (
    DEFINITIONS_MODULE,
    LOCATION_NAME,
    PROJECT_ROOT,
    directories,
)
from pipeline.orchestrate.process_group import stop_group
from pipeline.workspace import VARIABLE, Workspace

HOST = "127.0.0.1"
_POLL_SECONDS = 0.2


class PortInUseError(UserError):
    """A port that another program listens on."""


def serve(
    workspace: Workspace,
    *,
    port: int,
    on_ready: Callable[[str], None],
    on_stopping: Callable[[], None],
) -> int:
    """Runs web server and daemon until Ctrl-C or SIGTERM; gives the exit code.

    `on_ready` is told the address as soon as it answers; `on_stopping` is called when the signal
    has come, before the servers are ended, which takes seconds. Raises PortInUseError, and
    WorkspaceError where this workspace's UI is open already.
    """
    check_port(port)
    try:
        with cell_lock(workspace, "ui", owner=f"http://{HOST}:{port}"):
            return _serve(workspace, port, on_ready, on_stopping)
    except WorkspaceError as error:
        holder = cell_holder(workspace, "ui")
        if holder is None:
            raise
        raise WorkspaceError(
            f"The UI of {workspace.root} is open already at {holder.owner} (process "
            f"{holder.pid}). A workspace has one UI and one daemon. Use that one, stop it with "
            "Ctrl-C first, or open another --workspace."
        ) from error


def check_port(port: int) -> None:
    """Raises PortInUseError where the port cannot be listened on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortInUseError(
                f"Port {port} on {HOST} cannot be used ({error.strerror}): another program "
                "listens there, or it is reserved. "
                f"Stop that program, or choose another port: sae ui --port {port + 1}"
            ) from error


def write_home(workspace: Workspace) -> Path:
    """Writes what Dagster's own commands read into <workspace>/.dagster, and gives that folder.

    dagster.yaml is the project's with the folders of this workspace; workspace.yaml names the
    code location.
    """
    home = workspace.dagster
    config = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    config.update(directories(workspace))
    location = {
        "module_name": DEFINITIONS_MODULE,
        "location_name": LOCATION_NAME,
        "working_directory": str(PROJECT_ROOT),
    }
    load_from = {"load_from": [{"python_module": location}]}
    for name, value in (("dagster.yaml", config), ("workspace.yaml", load_from)):
        text = f"# Written by `sae ui` from {PROJECT_ROOT / 'dagster.yaml'}; changes are lost.\n"
        atomic.write_bytes(home / name, (text + yaml.safe_dump(value)).encode())
    return home


def _serve(
    workspace: Workspace,
    port: int,
    on_ready: Callable[[str], None],
    on_stopping: Callable[[], None],
) -> int:
    home = write_home(workspace)
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "dev"]
    command += ["--workspace", str(home / "workspace.yaml"), "--host", HOST, "--port", str(port)]
    command += ["--log-level", "error"]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        VARIABLE: str(workspace.root),
        "PYTHONWARNINGS": "ignore",
    }
    server = started(command, folder=home, environment=environment)
    previous = signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        _wait_until_it_answers(server, port)
        on_ready(f"http://{HOST}:{port}")
        return server.wait()
    except KeyboardInterrupt:
        on_stopping()
        return 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop_group(workspace, server)
        signal.signal(signal.SIGTERM, previous)


def started(
    command: list[str], *, folder: Path, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """The command in its own session: Ctrl-C reaches this process, which stops it in order.

    It listens to SIGINT even where a shell that put `sae ui` in the background has it ignored here:
    Dagster stops its servers by that signal, and would wait for them.
    """
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, previous)


def _as_interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int) -> None:
    while server.poll() is None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(_POLL_SECONDS)
    raise WorkspaceError(
        f"The UI ended before it answered (exit code {server.returncode}); what it said is above."
    )
