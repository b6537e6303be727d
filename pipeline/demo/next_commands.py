"""What to type after the demo."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from pipeline.workspace import Workspace, default_root


def next_commands(workspace: Workspace) -> list[str]:
    """Three commands, in a workspace that may not be the default one."""
    other = workspace.root != default_root().expanduser().resolve()
    sae = f"{_program()} --workspace {workspace.root}" if other else _program()
    return [
        f"  {sae} ui",
        f"  {sae} backfill --layers 0 --seeds 0-2",
        f'  {sae} sql "from seed_stability"',
    ]


def _program() -> str:
    """`sae` where the shell finds it, else its path from here: `make demo` changes no PATH."""
    beside = Path(sys.executable).parent / "sae"
    found = shutil.which("sae")
    if not beside.exists() or (found and Path(found).parent == beside.parent):
        return "sae"
    return os.path.relpath(beside)
