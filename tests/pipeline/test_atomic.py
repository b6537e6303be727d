from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import atomic
from pipeline.errors import DiskFullError


def _no_space(path: Path, n_bytes: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def _half(path: Path) -> None:
    path.write_bytes(b"half")
    raise ZeroDivisionError


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    atomic.write_bytes(path, b"a long first text")
    atomic.write_bytes(path, b"short")
    assert path.read_bytes() == b"short"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file_and_no_leftover(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.write_bytes(path, b"old")
    with pytest.raises(ZeroDivisionError), atomic.writing(path) as temporary:
        _half(temporary)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("written", [b"", b"few", b"exactly ten"[:10]])
def test_a_file_with_blocks_set_aside_holds_what_was_written_and_no_more(
    tmp_path: Path, written: bytes
) -> None:
    path = tmp_path / "file"
    with atomic.writing_blocks(path, n_bytes=10) as file:
        file.write(written)
    assert path.read_bytes() == written
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system sets no blocks aside")
def test_a_disk_that_cannot_set_blocks_aside_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with atomic.writing_blocks(tmp_path / "file", n_bytes=10) as file:
        file.write(b"data")
    assert (tmp_path / "file").read_bytes() == b"data"
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskFullError), atomic.writing_blocks(tmp_path / "b", n_bytes=10):
        pytest.fail("the block must not begin")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_json_round_trips_and_refuses_nan(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "a.json", {"b": [1, None]})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": [\n    1,\n    null\n  ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.write_json(tmp_path / "b.json", float("nan"))


def test_a_full_disk_is_told_with_path_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_reserve", _no_space)
    with pytest.raises(DiskFullError, match=r"writing .*file\..*same command then resumes"):
        atomic.write_bytes(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == []


def test_other_writers_tell_of_a_full_disk_the_same_way(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="bucket"), atomic.no_space(tmp_path / "bucket"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), atomic.no_space(tmp_path / "bucket"):
        raise PermissionError(errno.EACCES, "no")


def test_more_bytes_than_the_disk_has_are_refused_before_the_write(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError), atomic.writing(tmp_path / "file", n_bytes=1 << 60):
        pytest.fail("the block must not begin")


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting needs root"
)
def test_a_really_full_disk_keeps_what_was_finished(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        atomic.write_bytes(disk / "kept", b"finished")
        with pytest.raises(DiskFullError, match="kept"):
            atomic.write_bytes(disk / "kept", bytes(1 << 20))
        with pytest.raises(DiskFullError), atomic.writing(disk / "kept") as temporary:
            temporary.write_bytes(bytes(1 << 20))
        assert (disk / "kept").read_bytes() == b"finished"
        assert [path.name for path in disk.iterdir()] == ["kept"]
        atomic.write_bytes(disk / "kept", b"resumed")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_leftovers_of_a_killed_process_are_swept_and_others_stay(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from pipeline import atomic\n"
        "with atomic.writing(Path(sys.argv[1])) as t:\n"
        "    t.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    target = tmp_path / "sub" / "file"
    killed = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    ours = tmp_path / f"file.partial-{os.getpid()}-0a"
    ours.write_bytes(b"being written now")
    (leftover,) = target.parent.iterdir()
    assert atomic.sweep_leftovers(tmp_path, dry_run=True) == [leftover]
    assert atomic.sweep_leftovers(tmp_path) == [leftover]
    assert not leftover.exists()
    assert ours.exists()
