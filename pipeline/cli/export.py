"""`sae export`: an SAE for another package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import offers
from pipeline.cli.place import workspace_of

_SAE = "The SAE: its id, or the path of its folder."


def command(
    context: typer.Context,
    sae: Annotated[str, typer.Argument(help=_SAE, autocompletion=offers.saes)],
    format: Annotated[
        str, typer.Option("--format", help="saelens, dictionary_learning or sparsify.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The new folder; by default one named after the SAE, here."),
    ] = None,
    nearest: Annotated[
        bool,
        typer.Option(
            "--nearest",
            help="Where the SAE cannot be held exactly, write what comes nearest, and say how far "
            "it is.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Write an SAE for another package, exactly or not at all."""
    import json
    from dataclasses import asdict

    from pipeline.exchange.export import export

    made = export(workspace_of(context), sae, format, out=out, near=nearest)
    if as_json:
        typer.echo(json.dumps(asdict(made) | {"folder": str(made.folder)}, indent=2))
        return
    if made.nearness is not None:
        typer.echo(f"not exact: {made.nearness.sentence}", err=True)
    how = "exactly" if made.nearness is None else "as what comes nearest"
    typer.echo(f"wrote {made.sae} for {made.package} {how}: {made.folder}")
    typer.echo("  " + ", ".join(made.files))
