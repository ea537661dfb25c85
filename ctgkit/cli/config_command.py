"""``ctgkit config show``: every value and where it came from."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import click

from ctgkit.cli.options import OUTPUT, argument, command, current_config, json_option, option
from ctgkit.cli.sources import Origin, origins
from ctgkit.config import Config
from ctgkit.errors import excerpt, near, printable

_SECRETS = re.compile(r"(?<=://)[^@/\s]+@")
"""User names, passwords and tokens in addresses."""


@click.group(epilog="Example: ctgkit config show serve")
def config() -> None:
    """Show the settings in effect and where each was set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowOptions:
    """Options of `ctgkit config show`."""

    names: tuple[str, ...] = argument(metavar="[COMMAND]…", nargs=-1)
    every: bool = option(
        "--all", is_flag=True, section=OUTPUT, help="Without COMMAND: show defaults as well."
    )
    as_json: bool = json_option("One JSON object per option.")


@command(ShowOptions, name="show", parent=config, example="ctgkit config show serve")
def show(options: ShowOptions) -> int:
    """Show the options of COMMAND, or everything that is set, and where each value comes from.

    The order of precedence is: the command line, CTGKIT_<COMMAND>_<OPTION>, ./ctgkit.toml, the
    user's ctgkit.toml, the default. Tokens are never shown. Exit code 4 if a value cannot be used.
    """
    root = click.get_current_context().find_root()
    found = current_config()
    group = root.command
    assert isinstance(group, click.Group)
    shown = _chosen(root, group, options.names)
    rows = []
    wrong: list[str] = []
    for path, leaf in shown:
        context = _parsed(root, path, leaf, found, wrong)
        if context is not None:
            rows += [
                (" ".join(path), one)
                for one in origins(context)
                if options.names or options.every or one.origin != "default"
            ]
    if options.as_json:
        for name, one in rows:
            row = {"command": name, "option": one.option, "value": _plain(one.value)}
            click.echo(json.dumps({**row, "origin": one.origin}))
    else:
        _print(found, rows, named=bool(options.names))
    for reason in dict.fromkeys(wrong):
        click.echo(printable(f"ctgkit: {reason}"), err=True)
    return 4 if wrong else 0


def _chosen(
    root: click.Context, group: click.Group, names: tuple[str, ...]
) -> list[tuple[tuple[str, ...], click.Command]]:
    """Return the commands that are meant, with their names."""
    every = list(_leaves(root, group, ()))
    chosen = [(path, leaf) for path, leaf in every if path[: len(names)] == names]
    if not chosen:
        known = {" ".join(path[: len(names)]) for path, _ in every}
        asked = " ".join(names)
        raise click.UsageError(f"there is no command {excerpt(asked)!r}{near(asked, known)}")
    return chosen


def _leaves(context: click.Context, group: click.Group, path: tuple[str, ...]) -> Any:
    for name in group.list_commands(context):
        inner = group.get_command(context, name)
        if isinstance(inner, click.Group):
            yield from _leaves(context, inner, (*path, name))
        elif inner is not None:
            yield (*path, name), inner


def _parsed(
    root: click.Context,
    path: tuple[str, ...],
    leaf: click.Command,
    found: Config,
    wrong: list[str],
) -> click.Context | None:
    """Return a command's context, parsed without a command line, and note what can't be used.

    What a command line would have to say stays out.
    """
    file = ["--config", str(found.path)] if found.path else []
    parent = root
    for name in path[:-1]:
        parent = click.Context(root.command, parent=parent, info_name=name)
    lenient = _Lenient(leaf)
    try:
        return lenient.make_context(path[-1], file, parent=parent)
    except click.exceptions.Exit:
        return None
    except click.UsageError as error:
        wrong.append(f"{' '.join(path)}: {error.format_message()}")
    return None


class _Lenient(click.Command):
    """A command of which nothing is required."""

    def __init__(self, leaf: click.Command) -> None:
        super().__init__(leaf.name, params=[*map(_optional, leaf.params)])


def _optional(param: click.Parameter) -> click.Parameter:
    from copy import copy

    made = copy(param)
    made.required = False
    return made


def _print(found: Config, rows: list[tuple[str, Origin]], *, named: bool) -> None:
    kind = "the project's" if found.is_projects else "the user's"
    click.echo(f"configuration: {found.path} ({kind})" if found.path else "configuration: none")
    click.echo(f"sensors: {len(found.sensors)} configured")
    click.echo(f"viewer token: {'set' if found.viewer_token else 'none'}")
    if not rows and not named:
        click.echo("every option has its default; `ctgkit config show COMMAND` shows them")
        return
    lines = [
        (printable(f"{name} {one.option}"), printable(_text(one.value)), printable(one.origin))
        for name, one in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    for what, value, origin in lines:
        click.echo(f"{what.ljust(widths[0])}  {value.ljust(min(widths[1], 40))}  {origin}")


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, tuple | list | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return _SECRETS.sub("***@", value)
    return value if isinstance(value, int | float | bool | None) else str(value)


def _text(value: Any) -> str:
    plain = _plain(value)
    if plain is None or plain in ("", []):
        return "-"
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list | bool) else str(plain)
