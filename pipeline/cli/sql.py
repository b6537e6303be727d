"""`sae sql`: questions to the tables, read-only."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.place import workspace_of
from pipeline.errors import UserError


class Format(StrEnum):
    """How rows are shown."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def command(
    context: typer.Context,
    query: Annotated[
        str | None, typer.Argument(help="The query; without it, stdin is read.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read the query from a file.")] = None,
    format: Annotated[Format, typer.Option(help="How rows are shown.")] = Format.table,
    output: Annotated[
        Path | None, typer.Option(help="Write rows to a file instead of the terminal.")
    ] = None,
) -> None:
    """Ask the tables a question in SQL (read-only)."""
    text = _question(query, file)
    if format is Format.parquet and output is None:
        raise UserError(
            "--format parquet was given without --output. Parquet goes to a file: "
            "add --output rows.parquet."
        )
    from pipeline import atomic
    from pipeline.catalog import answer
    from pipeline.catalog.warehouse import query as ask

    rows = ask(workspace_of(context), text)
    data = answer.render(rows, format.value)
    if output is not None:
        atomic.write_bytes(output.absolute(), data)
        return
    sys.stdout.write(data.decode())
    if format is Format.table and rows.num_rows > answer.MOST_ROWS:
        shown = f"first {answer.MOST_ROWS} of {rows.num_rows} rows shown"
        typer.echo(f"{shown}; add LIMIT, or --format csv for all.", err=True)


def _question(query: str | None, file: Path | None) -> str:
    if query is not None and file is not None:
        raise UserError("A query and --file were both given. Give one of them.")
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--file {file} cannot be read ({error}). Give a text file.") from error
    if query is not None and query != "-":
        return query
    if sys.stdin.isatty():
        raise UserError(
            "No query was given. Pass it as the argument, with --file, or on stdin: "
            "sae sql 'SELECT sae, l0, fvu FROM evaluations'"
        )
    return sys.stdin.read()
