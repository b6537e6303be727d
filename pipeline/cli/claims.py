"""`sae claims`: the field's claims, and what this workspace says about each."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.cli.place import workspace_of


def command(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object per row.")] = False,
) -> None:
    """Show the field's claims, and what your own SAEs say."""
    from pipeline.catalog import answer
    from pipeline.catalog.warehouse import query

    rows = query(workspace_of(context), "FROM claims")
    if as_json:
        typer.echo(answer.render(rows, "json").decode(), nl=False)
        return
    typer.echo(shown(rows.to_pylist()))


def shown(rows: list[dict[str, Any]]) -> str:
    """The rows of the view `claims` as text: a paragraph per claim, a line per measurement."""
    import textwrap

    parts: dict[str, list[str]] = {}
    for row in rows:
        if row["claim"] not in parts:
            about = f"{row['statement']} ({row['reference']})"
            head = textwrap.wrap(about, 96, initial_indent="  ", subsequent_indent="  ")
            head += textwrap.wrap(
                f"Measured: {row['measures']}. The claim holds above {row['threshold']:g}. Study: "
                f'{row["study"]}. Query: sae sql "select query from claims where claim = '
                f"'{row['claim']}'\".",
                96,
                initial_indent="  ",
                subsequent_indent="  ",
            )
            parts[row["claim"]] = [row["claim"], *head]
        parts[row["claim"]].append(_line(row))
    return "\n\n".join("\n".join(lines) for lines in parts.values())


def _line(row: dict[str, Any]) -> str:
    if row["n"] is None:
        return f"  not measured: run {row['study']}"
    ends = (row["ci_low"], row["ci_high"])
    interval = "no interval" if None in ends else f"{ends[0]:.4g} to {ends[1]:.4g}"
    seeds = "1 seed" if row["n"] == 1 else f"{row['n']} seeds"
    tokens = row["tokens"]
    budget = "tokens not known" if tokens is None else f"{tokens:,} tokens"
    return (
        f"  {row['verdict']}: {row['effect']:.4g} ({interval}; {seeds}, {budget}) "
        f"{row['source']}/{row['recipe']}"
    )
