"""`sae upload`: an SAE on the hub."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli import offers
from pipeline.cli.place import workspace_of

_SAE = "The SAE: its id, or the path of its folder."


def command(
    context: typer.Context,
    sae: Annotated[str, typer.Argument(help=_SAE, autocompletion=offers.saes)],
    repository: Annotated[str, typer.Argument(help="The repository on the hub, owner/name.")],
    format: Annotated[
        str,
        typer.Option("--format", help="sae_foundry, saelens, dictionary_learning or sparsify."),
    ] = "sae_foundry",
    subfolder: Annotated[str, typer.Option(help="Folder inside the repository.")] = "",
    licence: Annotated[
        str | None, typer.Option(help="Licence of the weights, such as apache-2.0.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    nearest: Annotated[
        bool,
        typer.Option(
            "--nearest", help="Where the format cannot hold the SAE, upload what comes nearest."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Put an SAE with a model card on the hub.

    The token is read from HF_TOKEN.
    """
    import json
    from dataclasses import asdict

    from pipeline.exchange.upload import upload

    made = upload(
        workspace_of(context),
        sae,
        repository,
        format=format,
        subfolder=subfolder,
        private=private,
        licence=licence,
        near=nearest,
    )
    if as_json:
        typer.echo(json.dumps(asdict(made), indent=2))
        return
    typer.echo(f"uploaded {', '.join(made.files)} to {made.repository} at commit {made.commit}")
    typer.echo(f"  {made.url}")
