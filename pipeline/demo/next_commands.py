"""What to type after the demo."""

from __future__ import annotations

from pipeline.workspace import Workspace, default_root


def next_commands(workspace: Workspace) -> list[str]:
    """Three commands, in a workspace that may not be the default one."""
    other = workspace.root != default_root().expanduser().resolve()
    sae = f"sae --workspace {workspace.root}" if other else "sae"
    return [
        f"  {sae} ui",
        f"  {sae} backfill --layers 0 --seeds 0-2",
        f'  {sae} sql "from seed_stability"',
    ]
