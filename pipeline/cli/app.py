"""The command line: which commands there are, and how errors end them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.completion import VARIABLE
from pipeline.corpus.one_look import one_look
from pipeline.errors import UserError
from pipeline.threads import wait_briefly

COMMANDS = (
    "init",
    "run",
    "demo",
    "backfill",
    "sql",
    "claims",
    "match",
    "frontier",
    "report",
    "export",
    "import",
    "upload",
    "download",
    "status",
    "doctor",
    "ui",
    "gc",
    "remote",
    "completion",
)
BAD_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs `sae`; exits with 0, 2 for input that cannot be used, 130 when interrupted."""
    wait_briefly()
    if VARIABLE in os.environ:
        # A shell asks what could come next: the parser answers and exits.
        import_module("typer.completion").completion_init()
    given = _workspace_first(list(sys.argv[1:] if arguments is None else arguments))
    sys.exit(_exit_code(given))


def _exit_code(arguments: list[str]) -> int:
    try:
        with one_look():
            code = app(arguments, prog_name="sae", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:
            # The parser has turned Ctrl-C into this code, and said nothing but an empty line.
            typer.echo("interrupted", err=True)
        return int(code or 0)
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        return BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("\ninterrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has left; the interpreter would complain when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # What the parser refuses, an unknown command or option, knows how to show itself.
        if not hasattr(error, "show"):
            raise
        error.show()
        return int(getattr(error, "exit_code", BAD_INPUT))


def _workspace_first(arguments: list[str]) -> list[str]:
    """The same arguments with --workspace in front: it may stand after the command, too."""
    front: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            rest += [argument, *remaining]
        elif argument == "--workspace":
            front += [argument, *[value for value in [next(remaining, None)] if value is not None]]
        elif argument.startswith("--workspace="):
            front.append(argument)
        else:
            rest.append(argument)
    return front + rest


def _options(
    context: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            help="Folder of all results; default: $SAE_WORKSPACE, else ./workspace "
            "beside the project.",
            show_default=False,
        ),
    ] = None,
) -> None:
    context.obj = workspace


def _made() -> typer.Typer:
    """The commands there are; they load nothing heavy before they run, so that help is quick."""
    made = typer.Typer(
        name="sae",
        help="Train sparse autoencoders on language-model activations, and believe the numbers.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    made.callback()(_options)
    for name in COMMANDS:
        if find_spec(f"pipeline.cli.{name}") is not None:
            made.command(name)(import_module(f"pipeline.cli.{name}").command)
    return made


app = _made()
