"""``ctgkit help``."""

from dataclasses import dataclass

import click

from ctgkit.cli.options import argument, command
from ctgkit.errors import excerpt, near


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpOptions:
    """Options of `ctgkit help`."""

    names: tuple[str, ...] = argument(metavar="[COMMAND]…", nargs=-1)


@command(HelpOptions, name="help", example="ctgkit help exam export")
def help_(options: HelpOptions) -> None:
    """Show what a command does: its purpose, options and an example."""
    context = click.get_current_context().find_root()
    found: click.Command = context.command
    for name in options.names:
        inner = found.get_command(context, name) if isinstance(found, click.Group) else None
        if inner is None:
            known = found.list_commands(context) if isinstance(found, click.Group) else []
            reason = f"{context.command_path} has no command {excerpt(name)!r}{near(name, known)}"
            raise click.UsageError(reason)
        found = inner
        context = click.Context(inner, parent=context, info_name=name)
    click.echo(found.get_help(context))
