from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import WorkspaceError
from pipeline.locks import (
    cell_lock,
    device_holder,
    device_lock,
    forget_run,
    is_run_alive,
    run_lock,
    runs,
)
from pipeline.workspace import Workspace

_HOLD = """
import sys
from pipeline.locks import cell_lock, device_lock, run_lock
from pipeline.workspace import Workspace
workspace = Workspace.open(sys.argv[1])
kinds = {"device": device_lock, "cell": cell_lock, "run": run_lock}
with kinds[sys.argv[2]](workspace, sys.argv[3]):
    print("held", flush=True)
    sys.stdin.readline()
"""
_WAIT = """
import resource, sys, time
from pipeline.locks import device_lock
from pipeline.workspace import Workspace
with device_lock(Workspace.open(sys.argv[1]), "second", on_wait=lambda who: print(who, flush=True)):
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("got it", flush=True)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path)


def _holding(workspace: Workspace, kind: str, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(workspace.root), kind, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def _let_go(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def test_the_device_waits_for_its_holder_and_says_who_it_is(workspace: Workspace) -> None:
    holder = _holding(workspace, "device", "first job")
    told: list[str] = []
    got = threading.Event()

    def wait() -> None:
        with device_lock(workspace, "second job", on_wait=told.append):
            got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not got.wait(0.3)
    assert told == [f"process {holder.pid} (first job)"]
    _let_go(holder)
    assert got.wait(60)
    thread.join()
    assert device_holder(workspace) is None


def test_the_device_is_free_when_its_holder_is_killed(workspace: Workspace) -> None:
    holder = _holding(workspace, "device", "victim")
    holder.kill()
    holder.communicate()
    with device_lock(workspace, "next", on_wait=pytest.fail):
        found = device_holder(workspace)
        assert found is not None
        assert (found.pid, found.owner) == (os.getpid(), "next")


def test_the_device_can_be_entered_again_inside_one_process(workspace: Workspace) -> None:
    with device_lock(workspace, "outer"):
        with device_lock(workspace, "inner"):
            pass
        assert device_holder(workspace) is not None
    assert device_holder(workspace) is None


def test_a_wait_for_the_device_sleeps_and_ends_at_an_interrupt(workspace: Workspace) -> None:
    holder = _holding(workspace, "device", "first")
    waiting = subprocess.Popen(
        [sys.executable, "-c", _WAIT, str(workspace.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdout is not None
    assert f"process {holder.pid}" in waiting.stdout.readline()
    before = _cpu_ticks(waiting.pid)
    time.sleep(0.5)
    assert _cpu_ticks(waiting.pid) - before <= 5
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=60)
    assert "got it" not in out
    assert "KeyboardInterrupt" in err
    _let_go(holder)


def _cpu_ticks(pid: int) -> int:
    """Clock ticks a process has used; 0 where the system does not tell."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0
    fields = stat.read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_cell_that_is_being_made_is_refused_at_once(workspace: Workspace) -> None:
    name = "pylm.trained.resid_post.3/topk16.s0"
    holder = _holding(workspace, "cell", name)
    with (
        pytest.raises(WorkspaceError, match=rf"already being made by process {holder.pid}"),
        cell_lock(workspace, name),
    ):
        pytest.fail("two processes made one cell")
    with cell_lock(workspace, name.replace("s0", "s1")):
        pass
    _let_go(holder)
    with cell_lock(workspace, name):
        pass


def test_a_cell_is_refused_inside_one_process_too(workspace: Workspace) -> None:
    with cell_lock(workspace, "a"), pytest.raises(WorkspaceError), cell_lock(workspace, "a"):
        pytest.fail("one cell was made twice at once")


def test_a_run_is_alive_until_it_ends_or_is_killed(workspace: Workspace) -> None:
    assert not is_run_alive(workspace, "r1")
    with run_lock(workspace, "r1"):
        assert is_run_alive(workspace, "r1")
    assert not is_run_alive(workspace, "r1")
    assert runs(workspace) == {}
    victim = _holding(workspace, "run", "r2")
    assert is_run_alive(workspace, "r2")
    forget_run(workspace, "r2")
    assert is_run_alive(workspace, "r2")
    victim.kill()
    victim.communicate()
    assert not is_run_alive(workspace, "r2")
    holder, alive = runs(workspace)["r2"]
    assert holder is not None
    assert (holder.pid, alive) == (victim.pid, False)
    forget_run(workspace, "r2")
    assert runs(workspace) == {}


def test_a_forked_child_does_not_keep_the_device(workspace: Workspace) -> None:
    """The child inherits the parent's open files; the lock must not live on in it."""
    script = """
import os, sys, time
from pipeline.locks import device_lock
from pipeline.workspace import Workspace
with device_lock(Workspace.open(sys.argv[1]), "parent"):
    if os.fork() == 0:
        os.close(1)
        time.sleep(600)
    print(os.getpid(), flush=True)
    os._exit(0)
"""
    parent = subprocess.run(
        [sys.executable, "-c", script.replace("time.sleep(600)", "time.sleep(3)"), workspace.root],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert parent.stdout.strip().isdigit()
    with device_lock(workspace, "next", on_wait=pytest.fail):
        pass


def test_names_with_slashes_and_great_length_are_distinct_locks(workspace: Workspace) -> None:
    long = "x" * 300
    with cell_lock(workspace, long + "a"), cell_lock(workspace, long + "b"):
        pass
    with cell_lock(workspace, "a/b"), cell_lock(workspace, "a%2Fb"):
        pass
