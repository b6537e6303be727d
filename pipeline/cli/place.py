"""Which workspace a command works in."""

from __future__ import annotations

import typer

from pipeline.workspace import Workspace


def workspace_of(context: typer.Context) -> Workspace:
    """The workspace that --workspace, $SAE_WORKSPACE or the default names, with its views file."""
    workspace = Workspace.open(context.find_root().obj)
    from pipeline.catalog.warehouse import refresh

    if not refresh(workspace):
        name = workspace.warehouse.name
        text = (
            f"note: {name} is open for writing elsewhere; its views are renewed once it is closed."
        )
        typer.echo(f"{text} Open it with -readonly.", err=True)
    return workspace
