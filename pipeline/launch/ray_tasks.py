"""Parts as tasks of an existing Ray cluster; the package ray is an optional extra."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.errors import UserError
from pipeline.launch.config import LaunchConfig
from pipeline.launch.torchrun import LaunchError
from pipeline.progress import Progress, Report

_SECONDS = 10.0


def n_slots(launch: LaunchConfig) -> int:
    """How many tasks the cluster runs at the same time: one for each GPU, else for each CPU."""
    with _connected(launch):
        import ray

        resources = ray.cluster_resources()
    return max(1, int(resources.get("GPU") or resources.get("CPU", 1)))


def run_tasks(
    make: Callable[[Any], None],
    parts: Sequence[Any],
    launch: LaunchConfig,
    *,
    what: str,
    report: Report,
) -> None:
    """Makes every part as a task; one whose worker died is tried again, `max_restarts` times.

    The nodes have this package and see the workspace under the same path. Raises a part's
    UserError, and LaunchError where a part's worker died too often.
    """
    with _connected(launch):
        import ray

        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=launch.max_restarts)(_made)
        waiting = [task.remote(make, part) for part in parts]
        n_parts = len(waiting)
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=1)
            try:
                refusal = ray.get(ready[0])
            except ray.exceptions.RayError as error:
                raise LaunchError(
                    f"A part of {what} failed on the Ray cluster: {error}. The same command makes "
                    "what is missing; `--launch local` makes it in one process."
                ) from error
            if refusal is not None:
                raise refusal
            done = n_parts - len(waiting)
            report(Progress(what, done, n_parts, "parts", "Ray"))


def _made(make: Callable[[Any], None], part: Any) -> UserError | None:
    """Makes a part; gives the error that another try would not mend."""
    try:
        make(part)
    except UserError as error:
        return error
    return None


@contextmanager
def _connected(launch: LaunchConfig) -> Iterator[None]:
    """A connection to the cluster, or the one that this process has already."""
    _check_answers(launch.address)
    import ray

    if ray.is_initialized():
        yield
        return
    path = os.pathsep.join(entry for entry in sys.path if entry)
    try:
        ray.init(
            address=launch.address or "auto",
            log_to_driver=False,
            include_dashboard=None,
            runtime_env={"env_vars": {"PYTHONPATH": path}},
        )
    except ConnectionError as error:
        raise _no_cluster(launch.address or "auto", error) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str | None) -> None:
    """Raises LaunchError where nothing listens there: Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_SECONDS).close()
    except OSError as error:
        raise _no_cluster(f"{host}:{port}", error) from error


def _no_cluster(address: str, error: Exception) -> LaunchError:
    return LaunchError(
        f"No Ray cluster answers at {address} ({error}). Start one (`ray start --head`), or give "
        "its address in launch.address."
    )
