"""The one place that writes files: whole or not at all, also through kill -9 and a full disk.

A file is written under a temporary name in its own folder, flushed, and renamed. Temporary names
end in `.partial-<pid>-<random>`; those of dead processes are removed by `sweep_leftovers`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import DiskFullError

_PARTIAL = re.compile(r".+\.partial-([0-9]+)-[0-9a-f]+")
_CANNOT_ALLOCATE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_bytes(path: Path, data: bytes) -> None:
    """Makes `path` hold `data`; readers see the old file or the new one, never a part.

    Raises DiskFullError where no space is left.
    """
    with writing(path, n_bytes=len(data)) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Makes `path` hold the JSON text of a plain value."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


@contextmanager
def writing(path: Path, *, n_bytes: int = 0) -> Iterator[Path]:
    """A temporary path that any library may write to; renamed to `path` when the block succeeds.

    `n_bytes` is the expected size, where known, so that a full disk is told before the write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with no_space(path, n_bytes=n_bytes):
            yield temporary
            flush(temporary)
            os.replace(temporary, path)
            flush(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def writing_blocks(path: Path, *, n_bytes: int) -> Iterator[BinaryIO]:
    """`writing`, as an open file of at most `n_bytes` that has its blocks before its bytes.

    Writing a large file into blocks that the disk has set aside takes a third of the processor
    time of letting it grow. What is not written is cut off. Raises DiskFullError.
    """
    with writing(path, n_bytes=n_bytes) as temporary, temporary.open("wb") as file:
        _allocate(file.fileno(), n_bytes)
        yield file
        file.truncate()


@contextmanager
def no_space(path: Path, *, n_bytes: int = 0) -> Iterator[None]:
    """Turns "no space left" inside the block into a DiskFullError about `path`."""
    try:
        _reserve(path, n_bytes)
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(
            f"No space left on the disk while writing {path}. Nothing that was finished is lost. "
            "Free some space (`sae gc` lists what can go) or move the workspace with --workspace; "
            "the same command then resumes."
        ) from error


def sweep_leftovers(folder: Path, *, dry_run: bool = False) -> list[Path]:
    """Removes temporary files under `folder` whose writing process is gone; returns their paths."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            match = _PARTIAL.fullmatch(name)
            if match and not _is_alive(int(match[1])):
                found.append(Path(parent) / name)
    if not dry_run:
        for path in found:
            path.unlink(missing_ok=True)
    return sorted(found)


def flush(path: Path) -> None:
    """Puts a file's bytes, or a folder's names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reserve(path: Path, n_bytes: int) -> None:
    """Raises OSError ENOSPC where fewer than `n_bytes` are free on the disk of `path`."""
    if n_bytes <= 0:
        return
    disk = os.statvfs(path.parent)
    if disk.f_bavail * disk.f_frsize < n_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _allocate(descriptor: int, n_bytes: int) -> None:
    """Sets blocks aside where the system and its disk can; elsewhere the file grows as it does."""
    if n_bytes > 0 and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, n_bytes)
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise


def _is_alive(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
