"""`sae completion`: what makes a shell complete commands, options, and the workspace's names."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

VARIABLE = "_SAE_COMPLETE"


class Shell(StrEnum):
    """Shells that can be told how to complete."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def command(
    shell: Annotated[Shell, typer.Argument(help="The shell that is to complete.")],
) -> None:
    """Print what a shell runs to complete commands and names.

    bash: add `eval "$(sae completion bash)"` to ~/.bashrc. zsh: the same with zsh in ~/.zshrc,
    after compinit. fish: sae completion fish > ~/.config/fish/completions/sae.fish
    """
    from typer.completion import get_completion_script

    typer.echo(get_completion_script(prog_name="sae", complete_var=VARIABLE, shell=shell.value))
