"""`sae gc`: gives back what nothing points to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.place import workspace_of

if TYPE_CHECKING:
    from pipeline.catalog.collect import Collection


def command(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List only.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    older_than: Annotated[
        float, typer.Option(min=0, help="Hours for which nothing touched what goes.")
    ] = 24.0,
) -> None:
    """Compact the tables' parts and remove what nothing points to."""
    from pipeline.catalog.collect import collect, plan

    workspace = workspace_of(context)
    if dry_run:
        _show(plan(workspace, older_than_hours=older_than))
        return

    def confirmed(found: Collection) -> bool:
        _show(found)
        nothing = not (found.compact or found.remove or found.died)
        return not nothing and (yes or typer.confirm("Do it?"))

    if collect(workspace, older_than_hours=older_than, confirm=confirmed) is not None:
        typer.echo("done")


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
