"""Locks between processes, on files in the workspace: the system frees them when a holder dies.

The lock file's text says who holds it. A lock file may be removed by its holder, so whoever gets
a lock checks that the file it locked is still the one under that name.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, unquote

from pipeline.errors import WorkspaceError
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Holder:
    """Who holds, or held, a lock: process, purpose, since when (UTC, ISO 8601)."""

    pid: int
    owner: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.owner})" if self.owner else f"process {self.pid}"


@dataclass
class _Device:
    """This process's hold on one device lock: how often it was entered, and the open file."""

    pid: int
    count: int = 0
    descriptor: int = -1
    gate: threading.Lock = field(default_factory=threading.Lock)


_devices: dict[Path, _Device] = {}
_devices_gate = threading.Lock()


@contextmanager
def device_lock(
    workspace: Workspace, owner: str, *, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Holds the device for this process; waits, asleep, while another process holds it.

    Re-entrant inside one process. `on_wait` is told once who holds it, before the wait.
    """
    path = workspace.locks / "device.lock"
    device = _this_process(path)
    with device.gate:
        if device.count == 0:
            device.descriptor = _wait_for(path, owner, on_wait)
        device.count += 1
    try:
        yield
    finally:
        with device.gate:
            device.count -= 1
            if device.count == 0:
                os.close(device.descriptor)


def device_holder(workspace: Workspace) -> Holder | None:
    """Who holds the device now; None when it is free."""
    path = workspace.locks / "device.lock"
    return _holder(path) if _is_held(path) else None


@contextmanager
def cell_lock(workspace: Workspace, name: str, *, owner: str = "") -> Iterator[None]:
    """Holds one partition; raises WorkspaceError at once where somebody else is making it."""
    path = workspace.locks / "cells" / f"{_file_name(name)}.lock"
    descriptor = _try(path, owner or name)
    if descriptor is None:
        raise WorkspaceError(
            f"{name} is already being made by {_holder(path) or 'another process'}. One process "
            "makes a partition at a time. Wait until it ends (`sae status` shows what runs), "
            "then repeat the command: finished work is reused."
        )
    with _held(path, descriptor):
        yield


def cell_holder(workspace: Workspace, name: str) -> Holder | None:
    """Who holds a partition now; None when it is free."""
    path = workspace.locks / "cells" / f"{_file_name(name)}.lock"
    return _holder(path) if _is_held(path) else None


@contextmanager
def run_lock(workspace: Workspace, run_id: str, *, owner: str = "") -> Iterator[None]:
    """Says that a run is alive for as long as the block lasts."""
    path = _run_path(workspace, run_id)
    with _held(path, _wait_for(path, owner or run_id, None)):
        yield


def is_run_alive(workspace: Workspace, run_id: str) -> bool:
    """Whether a process holds the run's lock now."""
    return _is_held(_run_path(workspace, run_id))


def runs(workspace: Workspace) -> dict[str, tuple[Holder | None, bool]]:
    """Run id -> (its holder, whether it is alive); a run that is listed and not alive has died."""
    paths = sorted((workspace.locks / "runs").glob("*.lock"))
    return {unquote(path.stem): (_holder(path), _is_held(path)) for path in paths}


def forget_run(workspace: Workspace, run_id: str) -> None:
    """Removes the lock file of a run that died; does nothing to one that is alive."""
    path = _run_path(workspace, run_id)
    if path.exists() and not _is_held(path):
        path.unlink(missing_ok=True)


@contextmanager
def turn(workspace: Workspace, name: str) -> Iterator[None]:
    """A short exclusive section, such as registering a study; waits its turn, asleep."""
    path = workspace.locks / f"{_file_name(name)}.turn"
    descriptor = _wait_for(path, name, None)
    try:
        yield
    finally:
        os.close(descriptor)


def _this_process(path: Path) -> _Device:
    with _devices_gate:
        if not _devices:
            os.register_at_fork(after_in_child=_drop_inherited)
        device = _devices.get(path)
        if device is None:
            device = _devices[path] = _Device(os.getpid())
        return device


def _drop_inherited() -> None:
    """In a forked child: the parent's hold is not ours, and must not outlive the parent."""
    for device in _devices.values():
        if device.count:
            os.close(device.descriptor)
    _devices.clear()


@contextmanager
def _held(path: Path, descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _wait_for(path: Path, owner: str, on_wait: Callable[[str], None] | None) -> int:
    descriptor = _try(path, owner)
    if descriptor is not None:
        return descriptor
    if on_wait is not None:
        on_wait(str(_holder(path) or "another process"))
    return _lock(path, owner, fcntl.LOCK_EX)


def _try(path: Path, owner: str) -> int | None:
    try:
        return _lock(path, owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None


def _lock(path: Path, owner: str, how: int) -> int:
    """An open file that holds the lock, with the holder's text in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, how)
            if _is_same_file(path, descriptor):
                _sign(descriptor, owner)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _sign(descriptor: int, owner: str) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"pid": os.getpid(), "owner": owner, "since": since}).encode()
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(path: Path) -> Holder | None:
    """The text of a lock file; None while it is being written or when it is gone."""
    try:
        value = json.loads(path.read_text())
        return Holder(int(value["pid"]), str(value["owner"]), str(value["since"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _run_path(workspace: Workspace, run_id: str) -> Path:
    return workspace.locks / "runs" / f"{_file_name(run_id)}.lock"


def _file_name(name: str) -> str:
    text = quote(name, safe="@+,:=")
    return text if len(text) <= 120 else f"{text[:100]}-{sha256(name.encode()).hexdigest()[:16]}"
