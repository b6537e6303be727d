"""`sae gc`: gives back what nothing points to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.place import workspace_of
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.catalog.collect import Collection


def command(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List only.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    older_than: Annotated[
        float, typer.Option(min=0, help="Hours for which nothing touched what goes.")
    ] = 24.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; with --dry-run or --yes.")
    ] = False,
) -> None:
    """Compact the tables' parts and remove what nothing points to."""
    from pipeline.catalog.collect import collect, plan

    if as_json and not (dry_run or yes):
        raise UserError(
            "--json was given without --dry-run or --yes: a script cannot be asked for consent. "
            "Add --dry-run to list what can go, or --yes to remove it."
        )
    workspace = workspace_of(context)
    if dry_run:
        found = plan(workspace, older_than_hours=older_than)
        _say(found, done=False) if as_json else _show(found)
        return
    shown: list[Collection] = []

    def confirmed(found: Collection) -> bool:
        shown.append(found)
        if not as_json:
            _show(found)
        nothing = not (found.compact or found.remove or found.died)
        return not nothing and (yes or typer.confirm("Do it?"))

    done = collect(workspace, older_than_hours=older_than, confirm=confirmed) is not None
    if as_json:
        _say(shown[-1], done=done)
    elif done:
        typer.echo("done")


def _say(found: Collection, *, done: bool) -> None:
    import json

    removed = [
        {"path": str(one.path), "why": one.why, "bytes": one.n_bytes} for one in found.remove
    ]
    told = {"done": done, "remove": removed, "forget": list(found.died)}
    typer.echo(json.dumps({**told, "compact": list(found.compact)}, indent=2))


def _show(found: Collection) -> None:
    for removal in found.remove:
        typer.echo(f"remove   {removal.n_bytes / 1e6:10.2f} MB  {removal.path}  ({removal.why})")
    for run in found.died:
        typer.echo(f"forget   run {run} (its process is gone)")
    if found.compact:
        typer.echo(f"compact  the parts of {len(found.compact)} runs into one per table")
    if not (found.compact or found.remove or found.died):
        typer.echo("nothing to do")
        return
    total = sum(removal.n_bytes for removal in found.remove)
    typer.echo(f"{len(found.remove)} things to remove, {total / 1e6:.2f} MB")
