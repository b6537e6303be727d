"""`sae run`: everything a study asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.place import workspace_of

LAUNCH_HELP = (
    "Where work runs: local, torchrun, ray, or such as torchrun:4; else as the study says."
)


def command(
    context: typer.Context,
    study: Annotated[Path, typer.Argument(help="The study, a YAML file.")],
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Give names that are taken the content of this study."),
    ] = False,
    launch: Annotated[str | None, typer.Option(help=LAUNCH_HELP)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and change nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Run a study: harvest, train, evaluate and compare.

    What exists already is reused.
    """
    from pipeline.cli.execution import chosen_launch, make, planned, say, show_next, show_plan
    from pipeline.cli.study_file import proposed
    from pipeline.plan_text import plan_json

    workspace = workspace_of(context)
    given = proposed(workspace, study, replace=replace)
    sources, keys = given.study.sources(), given.study.keys()
    where = chosen_launch(launch, given.study, given.registry, keys)
    plan = planned(workspace, given.registry, sources, keys, dry_run=dry_run)
    show_plan(plan, as_json=as_json)
    if not dry_run:
        given.register(workspace)
        make(workspace, plan, as_json=as_json, launch=where)
        show_next(workspace, as_json=as_json)
    elif as_json:
        say({"plan": plan_json(plan)})
