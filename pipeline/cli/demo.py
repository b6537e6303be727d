"""`sae demo`: the whole pipeline on the embedded model, ending in a table."""

from __future__ import annotations

from importlib.resources import as_file, files

import typer

from pipeline.cli.place import workspace_of

NOT_GOOD_ENOUGH = 1


def command(context: typer.Context) -> None:
    """Run the whole pipeline on the embedded model.

    A few minutes; no network, no GPU.
    """
    import shutil

    from pipeline.cli.execution import make, show_plan
    from pipeline.cli.next_commands import after_demo
    from pipeline.cli.study_file import proposed
    from pipeline.demo.results import results, shortfalls
    from pipeline.demo.table import table
    from pipeline.plan import make_plan

    workspace = workspace_of(context)
    with as_file(files("pipeline.demo").joinpath("study.yaml")) as path:
        given = proposed(workspace, path, replace=False)
    given.register(workspace)
    study = given.study
    plan = make_plan(workspace, given.registry, study.sources(), study.keys())
    show_plan(plan, as_json=False)
    make(workspace, plan, as_json=False)
    saes = [work.cell.sae_id for work in plan.cells]
    rows = results(workspace, saes, variants=study.weights)
    typer.echo()
    typer.echo(table(rows, columns=shutil.get_terminal_size().columns))
    missed = shortfalls(rows)
    for line in missed:
        typer.echo(f"not good enough: {line}", err=True)
    typer.echo("\nNext:\n" + "\n".join(after_demo(workspace)))
    if missed:
        raise typer.Exit(NOT_GOOD_ENOUGH)
