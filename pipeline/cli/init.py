"""`sae init`: a workspace and a study to start from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.place import workspace_of
from pipeline.errors import StudyError


def command(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The study file to write.")] = Path("study.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Make a workspace and write a commented study file."""
    import json

    from pipeline import atomic
    from pipeline.cli.next_commands import typed

    if path.exists() and not force:
        raise StudyError(
            f"{path} exists already. Give another path, or pass --force to write over it."
        )
    workspace = workspace_of(context)
    text = files("pipeline.study").joinpath("starter.yaml").read_bytes()
    atomic.write_bytes(path.absolute(), text)
    if as_json:
        typer.echo(json.dumps({"workspace": str(workspace.root), "study": str(path)}, indent=2))
        return
    typer.echo(f"workspace {workspace.root}")
    typer.echo(f"study     {path}")
    typer.echo(f"\nNext: read it, then type\n  {typed(workspace)} run {path}")
