"""Environments that hold another SAE package each: what `make test-peers` runs their code in.

Their pins of numpy, transformers and datasets conflict with ours and with each other's, so each
package is installed from the package index into an environment of its own, under the user's cache
(`$XDG_CACHE_HOME`, or `~/.cache`). All use our torch, by links: they pin none, and a number can
then differ by their code alone.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The name of an environment -> what is installed there, the package itself first.
PACKAGES = {
    "sae-lens": "sae-lens==6.54.12",
    "sae-bench": "sae-bench==0.6.0",
    # What it leaves open, as of its time: newer ones have other modules, or another numpy.
    "sae-bench-legacy": "sae-bench==0.1.0 sae-lens==5.11.0 pyarrow==20.0.0 pandas==2.3.3",
    "dictionary-learning": "dictionary-learning==0.1.0",
    "eai-sparsify": "eai-sparsify==1.3.3",
}


def folder() -> Path:
    """Where the environments lie; may be removed at any time."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "sae-foundry-peers"


def python_of(name: str) -> Path:
    """The Python of the environment called `name`; makes it where it is not.

    Raises ValueError for an environment not in `PACKAGES`, CalledProcessError where pip fails.
    """
    if name not in PACKAGES:
        raise ValueError(f"no environment for {name!r}. Allowed: {', '.join(PACKAGES)}.")
    place = folder() / name
    with _alone(name):
        if not _as_wanted(name):
            _make(place, PACKAGES[name])
            (place / "made").write_text(_wanted(name))
    return place / "bin/python"


def installed_python_of(name: str) -> Path | None:
    """The same where that environment is made, at these versions; else None. Installs nothing."""
    return folder() / name / "bin/python" if _as_wanted(name) else None


def _as_wanted(name: str) -> bool:
    made = folder() / name / "made"
    return made.exists() and made.read_text() == _wanted(name)


def _wanted(name: str) -> str:
    return f"{PACKAGES[name]} torch {_torch_version()}"


def _make(place: Path, package: str) -> None:
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    packages = next(place.glob("lib/python*/site-packages"))
    ours = importlib.metadata.distribution("torch")
    home = Path(str(ours.locate_file("")))
    # The top-level entries of torch, its metadata among them: pip then finds torch installed.
    for entry in sorted({file.parts[0] for file in ours.files or ()} - {"..", "__pycache__"}):
        (packages / entry).symlink_to(home / entry)
    pip = [str(place / "bin/python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, f"torch=={_torch_version()}", *package.split()], check=True)
    # Its build is for CUDA, does not load beside a torch without, and nothing compared needs it.
    pip[3:] = ["uninstall", "--quiet", "--yes", "torchvision"]
    subprocess.run(pip, check=True)


def _torch_version() -> str:
    return importlib.metadata.version("torch").split("+")[0]


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Two processes do not make one environment at once: the second waits."""
    folder().mkdir(parents=True, exist_ok=True)
    with open(folder() / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    for wanted in sys.argv[1:] or PACKAGES:
        print(python_of(wanted), flush=True)
