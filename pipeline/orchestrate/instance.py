"""The Dagster instance of a workspace: the project's dagster.yaml, kept in <workspace>/.dagster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from pipeline.workspace import Workspace

PROJECT_ROOT = Path(__file__).resolve().parents[2]
DEFINITIONS_MODULE = "assets.definitions"
LOCATION_NAME = "sae"


def directories(workspace: Workspace) -> dict[str, Any]:
    """The parts of dagster.yaml that name folders, moved into this workspace."""
    home = workspace.dagster
    return {
        "storage": {"sqlite": {"base_dir": str(home)}},
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(home)},
        },
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(home / "compute_logs")},
        },
    }


def instance(workspace: Workspace) -> dg.DagsterInstance:
    """The workspace's instance, for runs inside this process. Close it, or use it in a `with`.

    The terminal belongs to the person who typed the command: what such runs print is not captured
    (capturing redirects the process's own output). The UI shows their events, not their prints.
    """
    workspace.dagster.mkdir(parents=True, exist_ok=True)
    silent_logs = {
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
            "config": {},
        }
    }
    ref = InstanceRef.from_dir(
        str(workspace.dagster),
        config_dir=str(PROJECT_ROOT),
        overrides={**directories(workspace), **silent_logs},
    )
    return dg.DagsterInstance.from_ref(ref)
