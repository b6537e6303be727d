"""`sae download`: the folder of an SAE on the hub, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    place: Annotated[str, typer.Argument(help="owner/name[/subfolder][@revision].")],
    out: Annotated[
        Path | None, typer.Option(help="The new folder; by default one named after it, here.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit; by default the newest.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Fetch an SAE's files from the hub.

    `sae import` makes it an SAE of a source.
    """
    import json

    from pipeline.exchange.export import write_folder
    from pipeline.exchange.place import located

    found = located(place, revision=revision)
    folder = out or Path.cwd() / found.name.replace("/", "-")
    files = {path.name: path.read_bytes() for path in found.path.iterdir() if path.is_file()}
    write_folder(folder, files)
    told = {"folder": str(folder), "revision": found.revision, "files": sorted(files)}
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    typer.echo(f"{found.name} at commit {found.revision}: {folder}")
