"""What to type after the demo, and after a study."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from pipeline.workspace import Workspace, default_root


def after_demo(workspace: Workspace) -> list[str]:
    """Three commands, in a workspace that may not be the default one."""
    sae = typed(workspace)
    return [
        f"  {sae} ui",
        f"  {sae} backfill --layers 0 --seeds 0-2",
        f'  {sae} sql "from seed_stability"',
    ]


def after_study(workspace: Workspace) -> list[str]:
    """Two ways to look at what was made."""
    sae = typed(workspace)
    order = "select sae, l0, fvu, loss_recovered_zero from evaluations order by fvu"
    return [f'  {sae} sql "{order}"', f"  {sae} ui"]


def typed(workspace: Workspace) -> str:
    """`sae` as it is typed here for this workspace, which is named unless it is the default."""
    other = workspace.root != default_root().expanduser().resolve()
    return f"{_program()} --workspace {workspace.root}" if other else _program()


def _program() -> str:
    """`sae` where the shell finds it, else its path from here: `make demo` changes no PATH."""
    beside = Path(sys.executable).parent / "sae"
    found = shutil.which("sae")
    if not beside.exists() or (found and Path(found).parent == beside.parent):
        return "sae"
    return min(os.path.relpath(beside), str(beside), key=len)
