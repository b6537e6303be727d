"""Which workspace a command works in."""

from __future__ import annotations

import typer

from pipeline.workspace import Workspace


def workspace_of(context: typer.Context) -> Workspace:
    """The workspace that --workspace, $SAE_WORKSPACE or the default names, with its views file."""
    workspace = Workspace.open(context.find_root().obj)
    from pipeline.catalog.warehouse import refresh

    refresh(workspace)
    return workspace
