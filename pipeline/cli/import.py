"""`sae import`: an SAE that was trained elsewhere, as an SAE of a source here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.place import workspace_of

if TYPE_CHECKING:
    from pipeline.exchange.take_in import Arrival
    from pipeline.workspace import Workspace


def command(
    context: typer.Context,
    place: Annotated[
        str, typer.Argument(help="Its folder or file, or owner/name[/subfolder][@revision].")
    ],
    source: Annotated[
        str, typer.Option(help="What it was trained on, such as pylm.trained.resid_post.1.")
    ],
    name: Annotated[
        str | None,
        typer.Option("--as", help="Name of its recipe; by default after the place."),
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", help="Its format; by default recognised.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit on the hub; by default the newest.")
    ] = None,
    write_site: Annotated[
        str | None,
        typer.Option(help="The site that a transcoder reconstructs, such as mlp_out."),
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate/--no-evaluate", help="Evaluate and match it, too.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Take in an SAE trained elsewhere, and evaluate it.

    Then it is matched with other dictionaries like an SAE that was trained here.
    """
    from pipeline.exchange.place import located
    from pipeline.exchange.take_in import read_arrival
    from pipeline.study.names import Source
    from pipeline.study.registry import Registry

    workspace = workspace_of(context)
    registry, chosen = Registry.load(workspace), Source.parse(source)
    registry.check_source(chosen)
    found = located(place, revision=revision)
    if found.revision and not found.was_pinned:
        typer.echo(f"{found.name} is at commit {found.revision}, which is recorded", err=True)
    arrival = read_arrival(registry, found, chosen, name=name, format=format, write_site=write_site)
    for note in arrival.foreign.notes:
        typer.echo(f"note: {note}", err=True)
    _settle(workspace, arrival, evaluate=evaluate, as_json=as_json)


def _settle(workspace: Workspace, arrival: Arrival, *, evaluate: bool, as_json: bool) -> None:
    """Harvests what is missing, takes the SAE in, evaluates it, and says so."""
    from pipeline.cli.execution import make_silently, planned, say
    from pipeline.exchange.take_in import take_in
    from pipeline.study.registry import Registry

    registry, sources = Registry.load(workspace), [arrival.source, *arrival.further_sources]
    plan = planned(workspace, registry, sources, [], dry_run=False)
    if plan.missing_sources:
        make_silently(workspace, plan)
    cell, is_new = take_in(workspace, arrival)
    about: dict[str, Any] = {
        "sae": cell.sae_id,
        "architecture": cell.recipe.architecture,
        "from": arrival.foreign.package,
        "revision": arrival.place.revision,
        "new": is_new,
    }
    if not as_json:
        state = "imported" if is_new else "was imported before"
        typer.echo(f"{state}: {cell.sae_id} ({cell.recipe.architecture}, {about['from']})")
    if evaluate:
        registry = Registry.load(workspace)
        make_silently(
            workspace, planned(workspace, registry, [arrival.source], [cell.key], dry_run=False)
        )
    if as_json:
        say(about)
