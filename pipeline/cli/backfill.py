"""`sae backfill`: more layers, seeds, sites, weights or recipes of what a study names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import offers
from pipeline.cli.place import workspace_of
from pipeline.cli.run import LAUNCH_HELP
from pipeline.errors import StudyError

if TYPE_CHECKING:
    from pipeline.cli.study_file import Proposal
    from pipeline.plan import Plan
    from pipeline.study.config import Study
    from pipeline.study.registry import Registry
    from pipeline.workspace import Workspace

_Study = Annotated[
    str | None,
    typer.Argument(
        help="A study file, or the name of a study that ran; default: the newest.",
        autocompletion=offers.study_or_file,
    ),
]
_Models = Annotated[
    str | None, typer.Option(help="Models, separated by commas.", autocompletion=offers.models)
]
_Kinds = Annotated[
    str | None,
    typer.Option(help="Kinds of site, such as resid_post,mlp_out.", autocompletion=offers.kinds),
]
_Weights = Annotated[
    str | None,
    typer.Option(help="Weights variants, such as trained,random@1.", autocompletion=offers.weights),
]
_Recipes = Annotated[
    str | None, typer.Option(help="Recipes, separated by commas.", autocompletion=offers.recipes)
]


def command(
    context: typer.Context,
    study: _Study = None,
    layers: Annotated[str | None, typer.Option(help="Layers, such as 0,2-3.")] = None,
    seeds: Annotated[str | None, typer.Option(help="SAE seeds, such as 0-2.")] = None,
    model: _Models = None,
    sites: _Kinds = None,
    weights: _Weights = None,
    recipes: _Recipes = None,
    queue: Annotated[
        bool, typer.Option("--queue", help="Hand it to the daemon that `sae ui` runs.")
    ] = False,
    launch: Annotated[str | None, typer.Option(help=LAUNCH_HELP)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and change nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Add layers, seeds and others, and run what is missing."""
    from pipeline.cli.execution import chosen_launch, make, planned, say, show_next, show_plan
    from pipeline.plan_text import plan_json
    from pipeline.study.selection import Selection

    workspace = workspace_of(context)
    content, registry, proposal = _study(workspace, study)
    chosen = Selection.parse(
        layers=layers, seeds=seeds, models=model, kinds=sites, weights=weights, recipes=recipes
    )
    _refuse_both(launch, queue)
    sources, keys = chosen.sources(content), chosen.keys(content)
    where = chosen_launch(launch, content, registry, keys)
    plan = planned(workspace, registry, sources, keys, dry_run=dry_run)
    show_plan(plan, as_json=as_json)
    if proposal is not None and not dry_run:
        proposal.register(workspace)
    if dry_run and as_json:
        say({"plan": plan_json(plan)})
    if dry_run:
        return
    if queue:
        _queue(workspace, plan, content.study, as_json=as_json)
    else:
        make(workspace, plan, as_json=as_json, launch=where)
        show_next(workspace, as_json=as_json)


def _refuse_both(launch: str | None, queue: bool) -> None:
    if launch is not None and queue:
        raise StudyError(
            "--launch with --queue: queued runs take the study's own launch section. Allowed: one "
            "of the two. Set launch in the study file, or leave --queue out."
        )


def _study(workspace: Workspace, given: str | None) -> tuple[Study, Registry, Proposal | None]:
    from pipeline.cli.study_file import named, newest, proposed

    if given is None:
        return *newest(workspace), None
    if Path(given).is_file():
        proposal = proposed(workspace, Path(given), replace=False)
        return proposal.study, proposal.registry, proposal
    return *named(workspace, given), None


def _queue(workspace: Workspace, plan: Plan, study: str, *, as_json: bool) -> None:
    from pipeline.cli.execution import say
    from pipeline.orchestrate.backfill import is_daemon_alive, queue_plan
    from pipeline.plan_text import plan_json

    if not plan.missing_sources and not plan.missing_cells:
        if as_json:
            say({"plan": plan_json(plan), "backfill": None})
        else:
            typer.echo("nothing was queued: all of it exists")
        return
    alive = is_daemon_alive(workspace)
    backfill = queue_plan(workspace, plan, title=f"{study}: {len(plan.missing_cells)} SAEs")
    if as_json:
        say({"plan": plan_json(plan), "backfill": backfill, "daemon_is_running": alive})
        return
    typer.echo(f"queued as backfill {backfill}; `sae ui` shows it under Runs > Backfills")
    if not alive:
        typer.echo("No daemon is running now: it waits until `sae ui` runs one.", err=True)
