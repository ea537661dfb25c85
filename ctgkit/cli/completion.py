"""``ctgkit completion``."""

from dataclasses import dataclass
from typing import Literal

import click
from click.shell_completion import get_completion_class

from ctgkit.cli.options import argument, command
from ctgkit.errors import ConfigError

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionOptions:
    """Options of `ctgkit completion`."""

    shell: Literal["bash", "zsh", "fish"] = argument(type=click.Choice(SHELLS))


@command(CompletionOptions, example="ctgkit completion bash >> ~/.bashrc")
def completion(options: CompletionOptions) -> None:
    """Print a script that makes a shell complete commands, options and scenarios.

    bash: append it to ~/.bashrc; zsh: to ~/.zshrc; fish: write it to
    ~/.config/fish/completions/ctgkit.fish.
    """
    root = click.get_current_context().find_root()
    made = get_completion_class(options.shell)
    if made is None:
        raise ConfigError(options.shell, "no completion for it")
    click.echo(made(root.command, {}, "ctgkit", "_CTGKIT_COMPLETE").source())
