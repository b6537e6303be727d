"""Runs inside this process that the UI shows and can start again like its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import make_new_run_id

from pipeline.orchestrate.instance import DEFINITIONS_MODULE, LOCATION_NAME, PROJECT_ROOT
from pipeline.orchestrate.liveness import hold_run
from pipeline.workspace import Workspace

_JOB = "__ASSET_JOB"
_REPOSITORY = "__repository__"
# The terminal shows progress and one sentence per failure; the UI has every event.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
# The daemon must not try again what a person stopped.
_NO_RETRY = {"dagster/max_retries": "0"}


@dataclass(frozen=True)
class RunOutcome:
    """How one run ended; `sentence` says why it failed."""

    assets: tuple[str, ...]
    partition: str | None
    run_id: str
    succeeded: bool
    sentence: str = ""

    @property
    def name(self) -> str:
        """What was made: `sae + evaluation of topk16.s0|pylm.trained.resid_post.3`."""
        return run_name(self.assets, self.partition)


def execute(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    assets: Sequence[str],
    *,
    partition: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> RunOutcome:
    """Makes the assets, for one partition where they have any, in one run of this process."""
    repository = ReconstructableRepository.for_module(
        DEFINITIONS_MODULE, "defs", working_directory=str(PROJECT_ROOT)
    )
    job = repository.get_reconstructable_job(_JOB)
    run_id = make_new_run_id()
    with hold_run(workspace, run_id, owner=run_name(assets, partition)):
        run = instance.create_run_for_job(
            job_def=job.get_definition(),
            run_id=run_id,
            run_config=_QUIET,
            tags={**_NO_RETRY, **(tags or {}), **_partition_tags(partition)},
            asset_selection={dg.AssetKey(name) for name in assets},
            remote_job_origin=_origin(),
            job_code_origin=job.get_python_origin(),
        )
        result = execute_run(job, run, instance, raise_on_error=False)
    sentence = "" if result.success else _why(instance, run_id)
    return RunOutcome(tuple(assets), partition, run_id, result.success, sentence)


def run_name(assets: Sequence[str], partition: str | None) -> str:
    """What a run makes, as a person reads it."""
    what = " + ".join(assets)
    return f"{what} of {partition}" if partition else what


def _partition_tags(partition: str | None) -> dict[str, str]:
    if partition is None:
        return {}
    if isinstance(partition, dg.MultiPartitionKey):
        dimensions = partition.keys_by_dimension.items()
        return {
            "dagster/partition": str(partition),
            **{f"dagster/partition/{name}": key for name, key in dimensions},
        }
    return {"dagster/partition": partition}


def _origin() -> RemoteJobOrigin:
    """Where the UI finds the same job; without it, it cannot start the run again."""
    target = LoadableTargetOrigin(
        executable_path=sys.executable,
        module_name=DEFINITIONS_MODULE,
        working_directory=str(PROJECT_ROOT),
    )
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=LOCATION_NAME)
    return RemoteRepositoryOrigin(location, _REPOSITORY).get_job_origin(_JOB)


def _why(instance: dg.DagsterInstance, run_id: str) -> str:
    """The sentence of a failed run: what its failed checks say, else its first failed step."""
    checks = [
        data.description or data.check_name
        for event in _events(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        if not (data := event.asset_check_evaluation_data).passed
        and data.severity is dg.AssetCheckSeverity.ERROR
    ]
    if checks:
        return "; ".join(checks)
    for event in _events(instance, run_id, dg.DagsterEventType.STEP_FAILURE):
        failure = event.step_failure_data
        if failure.user_failure_data is not None and failure.user_failure_data.description:
            return failure.user_failure_data.description
        if failure.error is not None:
            return (failure.error.cause or failure.error).message.strip()
    return "the run failed outside its steps; `sae ui` shows its events"


def _events(
    instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType
) -> list[dg.DagsterEvent]:
    return [entry.get_dagster_event() for entry in instance.all_logs(run_id, of_type=kind)]
