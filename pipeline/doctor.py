"""What this machine and workspace are, and what will be slow on them, with the reason."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from pipeline.catalog.provenance import code_commit, package_version
from pipeline.errors import RemoteError
from pipeline.sources_outside import hub, package_index
from pipeline.workspace import Workspace

PACKAGES = ("torch", "triton", "transformers", "dagster", "duckdb", "pyarrow", "zarr", "numpy")
LITTLE_DISK_GB = 5.0
# A view over a thousand parts answers in about a tenth of a second, over ten thousand in a second.
MANY_PARTS = 1000


@dataclass(frozen=True)
class Findings:
    """Versions, device, threads, disk; None where something is not there or cannot be told.

    `remote` is the workspace's remote place, `remote_problem` why it cannot be used now.
    """

    workspace: str
    package: str
    commit: str | None
    python: str
    packages: dict[str, str | None]
    gpu: str | None
    gpu_gb: float | None
    cores: int
    threads: int
    load: float | None
    disk_free_gb: float
    most_parts: int
    most_parts_table: str | None
    package_index: str
    hub: str
    remote: str | None
    remote_problem: str | None


def findings(workspace: Workspace) -> Findings:
    """Looks; loads torch, which takes seconds, and connects to the remote place if one is named."""
    import torch

    properties = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    folders = sorted(path for path in workspace.tables.glob("*") if path.is_dir())
    parts = {path.name: sum(1 for _ in path.glob("*.parquet")) for path in folders}
    remote, problem = _remote(workspace)
    most = max(parts, key=lambda name: parts[name], default=None)
    return Findings(
        workspace=str(workspace.root),
        package=package_version(),
        commit=code_commit(),
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        gpu=properties.name if properties else None,
        gpu_gb=round(properties.total_memory / 1e9, 1) if properties else None,
        cores=_cores(),
        threads=torch.get_num_threads(),
        load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        disk_free_gb=round(shutil.disk_usage(workspace.root).free / 1e9, 1),
        most_parts=parts[most] if most else 0,
        most_parts_table=most,
        package_index=package_index(),
        hub=hub(),
        remote=remote,
        remote_problem=problem,
    )


def slow(found: Findings) -> list[str]:
    """What will be slow and why, and what to do: a sentence each."""
    told = []
    if found.gpu is None:
        told.append(
            f"Training and harvest run on the CPU ({found.threads} threads): torch "
            f"{found.packages['torch']} sees no CUDA device."
        )
    elif found.packages["triton"] is None:
        told.append("Triton is missing, so the GPU runs the plain kernels. Install triton.")
    if found.threads < found.cores:
        told.append(
            f"torch uses {found.threads} of {found.cores} cores: OMP_NUM_THREADS is "
            f"{os.environ.get('OMP_NUM_THREADS', 'not set')}. Unset it, or raise it."
        )
    if found.load is not None and found.load > found.cores:
        told.append(
            f"Other programs want the cores: load {found.load:g} on {found.cores}. "
            "Times, and estimates of times, will be longer than on a quiet machine."
        )
    if found.disk_free_gb < LITTLE_DISK_GB:
        told.append(
            f"{found.disk_free_gb:g} GB are free beside the workspace: a harvest may not fit. "
            "`sae gc` lists what can go; --workspace names another disk."
        )
    if found.most_parts > MANY_PARTS:
        told.append(
            f"The table {found.most_parts_table} lies in {found.most_parts:,} parts, so queries "
            "take seconds. `sae gc` makes them one."
        )
    return told


def _remote(workspace: Workspace) -> tuple[str | None, str | None]:
    """The remote place, and why it cannot be used; None for either where there is none."""
    from pipeline.remote.objects import objects_at
    from pipeline.remote.place import remote_of

    url = None
    try:
        remote = remote_of(workspace)
        if remote is not None:
            url = remote.url
            objects_at(url)
    except RemoteError as error:
        return url, str(error)
    return url, None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
