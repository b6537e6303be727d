"""`sae remote`: where finished activations and SAEs lie besides this workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.place import workspace_of

if TYPE_CHECKING:
    from pipeline.remote.place import Remote
    from pipeline.workspace import Workspace


def command(
    context: typer.Context,
    url: Annotated[
        str | None,
        typer.Argument(help="s3://bucket/prefix or file:///folder; none: show what is set."),
    ] = None,
    cache_gb: Annotated[
        float | None,
        typer.Option(
            min=0, help="Gigabytes of its shards that stay on this disk; 50 where nothing is said."
        ),
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Send now what was finished before the place was named.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Name or show where finished activations and SAEs lie as well."""
    import json

    from pipeline.errors import RemoteError
    from pipeline.remote.objects import objects_at
    from pipeline.remote.place import CACHE_GB, checked_url, remote_of, set_remote

    workspace = workspace_of(context)
    remote = remote_of(workspace)
    if url is None and cache_gb is not None and remote is None:
        raise RemoteError("--cache-gb was given without a URL, and no remote place is named yet.")
    if url is not None or cache_gb is not None:
        wanted = checked_url(url or (remote.url if remote else ""))
        objects_at(wanted)
        kept = remote.cache_gb if remote else CACHE_GB
        remote = set_remote(workspace, wanted, cache_gb=kept if cache_gb is None else cache_gb)
    if send:
        _send(workspace, remote)
    told = {"url": None} if remote is None else _told(remote)
    typer.echo(json.dumps(told, indent=2) if as_json else _text(told))


def _send(workspace: Workspace, remote: Remote | None) -> None:
    from pipeline.cli.display import shown
    from pipeline.errors import RemoteError
    from pipeline.remote.finished import send_finished

    if remote is None:
        raise RemoteError("--send was given, and no remote place is named. Give its URL, too.")
    with shown() as report:
        send_finished(workspace, report)


def _told(remote: Remote) -> dict[str, Any]:
    from dataclasses import asdict

    from pipeline.remote.contents import contents

    return {"url": remote.url, "cache_gb": remote.cache_gb, **asdict(contents(remote))}


def _text(told: dict[str, Any]) -> str:
    if told["url"] is None:
        return "no remote place is named: activations and SAEs lie in the workspace alone"
    here = f"{told['cached_bytes'] / 1e9:.2f} of {told['cache_gb']:g} GB of their shards are here"
    lines = [told["url"], f"activations  {len(told['sources'])}; {here}"]
    lines += [f"             {source}" for source in told["sources"]]
    lines += [f"SAEs         {len(told['saes'])}", *(f"             {sae}" for sae in told["saes"])]
    return "\n".join(lines)
