"""What `sae run` and `sae backfill` share: show the plan, make it, say how it ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from pipeline.launch.config import LaunchConfig, check_launch, given_launch
from pipeline.plan import Plan, make_plan, pack_corpora
from pipeline.plan_text import plan_json, plan_lines
from pipeline.study.config import Study
from pipeline.study.names import SaeKey, Source
from pipeline.study.registry import Registry
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.orchestrate.run import PlanOutcome

SOME_FAILED = 1
GOES_ON = "What was made is kept; the same command goes on from there."


def planned(
    workspace: Workspace,
    registry: Registry,
    sources: Sequence[Source],
    keys: Sequence[SaeKey],
    *,
    dry_run: bool,
) -> Plan:
    """The plan. Unless it is a dry run the corpora are packed first: they say how many rows."""
    from pipeline.cli.display import shown

    for source in sources:
        registry.check_source(source)
    if not dry_run:
        with shown() as report:
            pack_corpora(workspace, registry, sources, report=report)
    return make_plan(workspace, registry, sources, keys)


def chosen_launch(
    text: str | None, study: Study, registry: Registry, keys: Sequence[SaeKey]
) -> LaunchConfig | None:
    """Where `--launch` says that work runs; None where it says nothing.

    Raises StudyError where a recipe of these keys cannot be trained there.
    """
    if text is None:
        return None
    launch = given_launch(text, study.launch)
    check_launch(launch, {key.recipe: registry.recipes[key.recipe] for key in keys})
    return launch


def show_plan(plan: Plan, *, as_json: bool) -> None:
    """Prints the plan; in JSON mode the last word has the plan in it instead."""
    if not as_json:
        typer.echo("\n".join(plan_lines(plan)))


def say(value: dict[str, Any]) -> None:
    """Prints one JSON object."""
    typer.echo(json.dumps(value, indent=2))


def make(
    workspace: Workspace, plan: Plan, *, as_json: bool, launch: LaunchConfig | None = None
) -> None:
    """Runs the plan with progress; exits with 1 where something could not be made.

    `launch` is where, whatever the studies say.
    """
    outcome = _ran(workspace, plan, launch)
    if as_json:
        runs = [{**vars(run), "assets": list(run.assets)} for run in outcome.runs]
        say({"plan": plan_json(plan), "runs": runs, "skipped": outcome.skipped})
    else:
        made = len(outcome.runs) - len(outcome.failed)
        typer.echo(
            f"{made} of {len(outcome.runs)} runs succeeded" if outcome.runs else "all exists"
        )
    _end_where_some_failed(outcome)


def make_silently(workspace: Workspace, plan: Plan) -> None:
    """The same for a command whose last word is another: nothing goes to stdout."""
    _end_where_some_failed(_ran(workspace, plan))


def _ran(workspace: Workspace, plan: Plan, launch: LaunchConfig | None = None) -> PlanOutcome:
    from pipeline.cli.display import shown
    from pipeline.orchestrate.requested import launch_tag
    from pipeline.orchestrate.run import run_plan

    try:
        with shown() as report:
            return run_plan(workspace, plan, report=report, tags=launch_tag(launch))
    except KeyboardInterrupt:
        typer.echo(f"\n{GOES_ON}", err=True)
        raise


def _end_where_some_failed(outcome: PlanOutcome) -> None:
    for run in outcome.failed:
        typer.echo(f"failed: {run.name}: {run.sentence}", err=True)
    if outcome.skipped:
        listing = ", ".join(outcome.skipped)
        typer.echo(f"not made, for want of what they need: {listing}", err=True)
    if not outcome.succeeded:
        typer.echo(GOES_ON, err=True)
        raise typer.Exit(SOME_FAILED)


def show_next(workspace: Workspace, *, as_json: bool) -> None:
    """Prints where to look at what was made; nothing in JSON mode."""
    from pipeline.cli.next_commands import after_study

    if not as_json:
        typer.echo("\nNext:\n" + "\n".join(after_study(workspace)))
