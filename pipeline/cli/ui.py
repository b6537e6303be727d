"""`sae ui`: the Dagster UI and its daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.place import workspace_of

DEFAULT_PORT = 3000


def command(
    context: typer.Context,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1 to listen on.")
    ] = DEFAULT_PORT,
) -> None:
    """Open the UI here, with the daemon that runs what is queued."""
    from pipeline.orchestrate.server import serve

    workspace = workspace_of(context)

    def ready(address: str) -> None:
        typer.echo(f"{address}  shows the workspace {workspace.root}; Ctrl-C stops it.")

    def stopping() -> None:
        typer.echo("\nstopping the UI, its daemon and the runs in its care ...")

    typer.echo(f"starting the UI on port {port} ...")
    code = serve(workspace, port=port, on_ready=ready, on_stopping=stopping)
    if code:
        raise typer.Exit(code)
