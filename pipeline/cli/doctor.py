"""`sae doctor`: versions, device, threads, disk, and what will be slow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.place import workspace_of

if TYPE_CHECKING:
    from pipeline.doctor import Findings


def command(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show versions, device and disk, and what will be slow."""
    from dataclasses import asdict

    from pipeline.doctor import findings, slow

    found = findings(workspace_of(context))
    told = slow(found)
    typer.echo(json.dumps(asdict(found) | {"slow": told}, indent=2) if as_json else _text(found))
    if not as_json:
        typer.echo("\n".join(["", *(told or ["Nothing here will be slow for a known reason."])]))


def _text(found: Findings) -> str:
    commit = found.commit[:10] if found.commit else "outside a clone"
    gpu = f"{found.gpu}, {found.gpu_gb:g} GB" if found.gpu else "none"
    packages = ", ".join(f"{n} {v or 'missing'}" for n, v in found.packages.items())
    load = "" if found.load is None else f", load {found.load:g}"
    return "\n".join(
        [
            f"workspace    {found.workspace}",
            f"sae-foundry  {found.package} ({commit}), Python {found.python}",
            f"packages     {packages}",
            f"GPU          {gpu}",
            f"CPU          {found.cores} cores, {found.threads} threads of torch{load}",
            f"disk         {found.disk_free_gb:g} GB free",
            f"tables       {_parts(found)}",
            f"index        {found.package_index}",
            f"hub          {found.hub}",
            f"remote       {_remote(found)}",
        ]
    )


def _remote(found: Findings) -> str:
    if found.remote_problem:
        return found.remote_problem
    if found.remote is None:
        return "none: what is made lies in the workspace alone"
    return f"{found.remote}: it answers"


def _parts(found: Findings) -> str:
    if not found.most_parts:
        return "empty"
    return f"at most {found.most_parts:,} parts each ({found.most_parts_table})"
