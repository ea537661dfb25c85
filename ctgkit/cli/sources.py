"""Where the value of an option came from: the command line, a variable, a file, the default.

This module performs no I/O.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

_SHORTEST = 3
"""Characters of the shortest value that is looked for in a message: others are in it by chance."""


class Origin(NamedTuple):
    """Of one option."""

    option: str
    """Its long name, or the name of an argument."""
    value: Any
    origin: str
    """``command line``, ``$CTGKIT_…``, a file and its section, or ``default``."""


def variable_name(ctx: click.Context, key: str) -> str:
    """Return the environment variable of an option's key.

    >>> import click
    >>> variable_name(click.Context(click.Command("serve"), auto_envvar_prefix="X_SERVE"), "port")
    'X_SERVE_PORT'
    """
    return f"{ctx.auto_envvar_prefix}_{key.upper()}"


def origins(ctx: click.Context) -> Iterator[Origin]:
    """Yield where each value of a parsed command came from."""
    for param in ctx.command.params:
        if not param.name or not param.expose_value:
            continue
        source = ctx.get_parameter_source(param.name)
        long = [name for name in param.opts if name.startswith("--")]
        shown = long[0] if long else param.human_readable_name
        yield Origin(shown, ctx.params.get(param.name), _origin(ctx, param, source))


def _origin(ctx: click.Context, param: click.Parameter, source: ParameterSource | None) -> str:
    if source is ParameterSource.ENVIRONMENT:
        return f"${set_variable(ctx, param) or '?'}"
    if source is ParameterSource.DEFAULT_MAP:
        return in_file(ctx)
    return "default" if source in (ParameterSource.DEFAULT, None) else "command line"


def set_variable(ctx: click.Context, param: click.Parameter) -> str | None:
    """Return the variable that an option's value came from."""
    from os import environ

    keys = param.keys() if hasattr(param, "keys") else [param.name or ""]
    names = (variable_name(ctx, key) for key in keys)
    return next((name for name in names if environ.get(name)), None)


def in_file(ctx: click.Context) -> str:
    """Return the file and the section that give a command its values."""
    path = ctx.command_path.split()
    return f"{getattr(ctx.obj, 'path', None)} [{path[1] if len(path) > 1 else path[0]}]"


def remark(ctx: click.Context, message: str) -> str:
    """Return where the values that a message speaks of came from; empty for the command line."""
    told = [
        f"{one.option} from {one.origin}"
        for one in origins(ctx)
        if one.origin not in ("command line", "default") and _speaks_of(message, one)
    ]
    return f" ({', '.join(told)})" if told else ""


def _speaks_of(message: str, one: Origin) -> bool:
    if one.origin in message:  # it says so already
        return False
    values = one.value if isinstance(one.value, list | tuple) else [one.value]
    words = [one.option, *(str(v) for v in values if len(str(v)) >= _SHORTEST)]
    return any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", message) for word in words)
