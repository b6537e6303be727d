"""`sae status`: what a workspace holds and what runs in it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from pipeline.cli.place import workspace_of


def command(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show what exists, what runs, and what failed."""
    from pipeline.catalog.overview import overview

    state = overview(workspace_of(context))
    typer.echo(json.dumps(state, indent=2) if as_json else _text(state))


def _text(state: dict[str, Any]) -> str:
    lines = [f"workspace    {state['workspace']}"]
    for name in ("studies", "sources", "saes", "evaluations"):
        lines.append(f"{name:<12} {state[name]}")
    lines += _listed("remote", [_remote(state["remote"])] if state["remote"] else [])
    running = [f"{run['run']}: {run['holder']}, since {run['since']}" for run in state["running"]]
    lines += _listed("running", running)
    lines += _listed("device", [state["device"] or "free"])
    failed = [f"{one['what']}, {one['at']}: {one['why']}" for one in state["failed"]]
    lines += _listed("failed", failed)
    diverged = [": ".join(filter(None, (one["sae"], one["why"]))) for one in state["diverged"]]
    lines += _listed("diverged", diverged)
    lines += _listed("died", [f"{run['run']}: {run['holder']}" for run in state["died"]])
    lines += [] if running else _next(state)
    return "\n".join(lines)


def _remote(remote: dict[str, Any]) -> str:
    there = ", ".join(
        f"{remote[f'{kind}_there']} of {remote[kind]} {name}"
        for kind, name in (("sources", "sources"), ("saes", "SAEs"))
    )
    whole = all(remote[f"{kind}_there"] == remote[kind] for kind in ("sources", "saes"))
    return f"{remote['url']}: {there} lie there" + ("" if whole else "; `sae remote --send`")


def _next(state: dict[str, Any]) -> list[str]:
    if state["died"]:
        return ["\nWhat died lost nothing that was finished: the same command goes on from there."]
    if state["failed"]:
        return ["\nOnce its reason is gone, the same command makes what failed and keeps the rest."]
    if state["studies"] and not state["saes"]:
        return ["\nNo SAE is finished yet: `sae run` with the same study goes on where it stopped."]
    if not state["saes"]:
        return ["\nNothing has run yet. Next: `sae init` writes a study to start from."]
    return []


def _listed(name: str, entries: list[str]) -> list[str]:
    heads = [name, *[""] * (len(entries) - 1)]
    shown = zip(heads, entries or ["none"], strict=False)
    return [f"{head:<12} {entry}" for head, entry in shown]
