"""`sae report`: the results as one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import offers
from pipeline.cli.place import workspace_of


def command(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    study: Annotated[
        str | None, typer.Option(help="Only SAEs of this study.", autocompletion=offers.studies)
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(help="Folder for the figures as PNG and SVG, each with its query."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Write the results as one offline HTML page."""
    import json

    from pipeline.cli.display import duration, shown
    from pipeline.report.run import write_report

    workspace = workspace_of(context)
    place = None if figures is None else figures.absolute()
    with shown() as report:
        made = write_report(workspace, output.absolute(), study=study, figures=place, report=report)
    if as_json:
        told = {
            "page": str(made.page),
            "bytes": made.n_bytes,
            "saes": made.n_saes,
            "seconds": round(made.seconds, 3),
            "figures": [str(path) for path in made.figures],
        }
        typer.echo(json.dumps(told, indent=2))
        return
    size = f"{made.n_bytes / 1e6:.1f} MB"
    typer.echo(f"{made.page}  ({size}, {made.n_saes} SAEs, {duration(made.seconds)})")
    if figures is not None:
        typer.echo(f"{place}  ({len(made.figures)} files: PNG, SVG and the query of each figure)")
