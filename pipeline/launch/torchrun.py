"""A job on several ranks: torchrun as a child of this process, which hears of its progress.

The job's folder holds what parent and ranks tell each other: `job.pickle`, what to do; `progress`,
written by rank 0; `stop`, made by the parent; `refused`, the sentence of a rank for whose error
another start would be no help.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.progress import Progress, Report

_POLL_SECONDS = 0.1
_SECONDS_TO_END = 30.0
_LAST_LINES = 15


class LaunchError(UserError):
    """Ranks that failed more often than they may be started again."""


class JobFolder:
    """The folder of one job, seen from both sides."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def job(self) -> Any:
        """What the parent wants done."""
        return pickle.loads((self.root / "job.pickle").read_bytes())

    def tell(self, progress: Progress) -> None:
        """Puts rank 0's progress where the parent looks."""
        self._put("progress", json.dumps(vars(progress)))

    def told(self) -> Progress | None:
        """The newest progress."""
        path = self.root / "progress"
        return Progress(**json.loads(path.read_text())) if path.exists() else None

    def ask_to_stop(self) -> None:
        """Asks the ranks to stop at their next report."""
        self._put("stop", "")

    def is_asked_to_stop(self) -> bool:
        """Whether the parent asks for it."""
        return (self.root / "stop").exists()

    def refuse(self, error: UserError) -> None:
        """Says why no rank should be started again."""
        self._put("refused", json.dumps([type(error).__name__, str(error)]))

    def refusal(self) -> UserError | None:
        """A rank's error, of its own class where that is known here."""
        path = self.root / "refused"
        if not path.exists():
            return None
        kind, text = json.loads(path.read_text())
        known = [UserError, *_subclasses(UserError)]
        return {one.__name__: one for one in known}.get(kind, UserError)(text)

    def _put(self, name: str, text: str) -> None:
        temporary = self.root / f"{name}.{os.getpid()}"
        temporary.write_text(text)
        os.replace(temporary, self.root / name)


def run_ranks(
    module: str,
    job: Any,
    *,
    ranks: int,
    max_restarts: int,
    report: Report,
    stop: Callable[[], bool] | None,
) -> None:
    """Runs `python -m module FOLDER` on every rank until all have ended well.

    When a rank dies, torch elastic ends the others and starts all again, `max_restarts` times at
    most. `stop` is asked while they work. Raises the error that a rank refused with, and
    LaunchError with the last lines of their output where they failed otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="sae-ranks-") as name:
        folder = JobFolder(Path(name))
        (folder.root / "job.pickle").write_bytes(pickle.dumps(job))
        log = folder.root / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                _command(module, folder, ranks=ranks, max_restarts=max_restarts),
                env=_environment(ranks),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _follow(process, folder, report=report, stop=stop)
        finally:
            _end(process)
        refusal = folder.refusal()
        if refusal is not None:
            raise refusal
        if process.returncode:
            raise _failed(log, ranks=ranks, max_restarts=max_restarts)


def n_ranks(wanted: int | None) -> int:
    """How many ranks: as many as wanted, else one for each GPU, and two without one."""
    if wanted is not None:
        return wanted
    import torch

    return torch.cuda.device_count() or 2


def _follow(
    process: subprocess.Popen[bytes],
    folder: JobFolder,
    *,
    report: Report,
    stop: Callable[[], bool] | None,
) -> None:
    last = None
    while True:
        ended = process.poll() is not None
        news = folder.told()
        if news is not None and news != last:
            report(news)
            last = news
        if ended:
            return
        if stop is not None and not folder.is_asked_to_stop() and stop():
            folder.ask_to_stop()
        time.sleep(_POLL_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    """torchrun ends its ranks when it is told to; whatever is left of its group after that."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_SECONDS_TO_END)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _command(module: str, folder: JobFolder, *, ranks: int, max_restarts: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={ranks}",
        f"--max-restarts={max_restarts}",
        "--module",
        module,
        str(folder.root),
    ]


def _environment(ranks: int) -> dict[str, str]:
    threads = max(1, (os.cpu_count() or 1) // ranks)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {"OMP_NUM_THREADS": str(threads)} | os.environ | {"PYTHONPATH": path}


def _failed(log: Path, *, ranks: int, max_restarts: int) -> LaunchError:
    lines = log.read_text(errors="replace").splitlines()
    raised = [line for line in lines if "Error" in line][-_LAST_LINES:] or lines[-_LAST_LINES:]
    listing = "\n  ".join(raised)
    return LaunchError(
        f"{ranks} ranks failed and were started again {max_restarts} times at most. Their last "
        f"words:\n  {listing}\nThe same command continues from the last checkpoint; "
        "`--launch local` trains in one process."
    )


def _subclasses(kind: type[UserError]) -> list[type[UserError]]:
    return [one for sub in kind.__subclasses__() for one in (sub, *_subclasses(sub))]
