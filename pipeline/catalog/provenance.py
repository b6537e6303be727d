"""Which code made a result."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path


def package_version() -> str:
    """The installed version of this package."""
    return version("sae-foundry")


@cache
def code_commit() -> str | None:
    """The git commit of this code, with `+changes` where files differ; None outside a clone."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    head = _git(root, "rev-parse", "HEAD")
    if head is None:
        return None
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{head}+changes" if changed else head


def _git(root: Path, *arguments: str) -> str | None:
    result = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
    )
    return result.stdout.strip() if result.returncode == 0 else None
