"""Options as fields of a command's settings, and those that several commands share.

A command declares its settings as a frozen dataclass; each field is an option or an argument::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Settings:
        port: int = option("--port", type=PORT, default=8080, help="Port; 0 picks a free one.")

    @command(Settings, example="ctgkit serve --port 8080")
    def serve(settings: Settings) -> None: ...

Each option is also an environment variable and a key of ``ctgkit.toml``, by its long name. Older
names are aliases: they still work everywhere but are not shown in the help.
"""

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, fields
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from ctgkit.cli import logs
from ctgkit.cli.sources import set_variable
from ctgkit.cli.stores import STORE
from ctgkit.cli.types import PAUSE, SEED, File, OutFile
from ctgkit.config import Config, find_config
from ctgkit.errors import ConfigError, excerpt, near

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., Any])

USUAL = "Options"
OUTPUT = "Output"
GENERAL = "General"


class Option(click.Option):
    """An option with a section in ``--help`` and hidden older names."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        section: str = USUAL,
        aliases: Sequence[str] = (),
        **attributes: Any,
    ) -> None:
        if attributes.get("default") not in (None, False, 0.0, math.inf, (), ""):
            attributes.setdefault("show_default", not attributes.get("is_flag"))
        super().__init__([*names, *aliases], **attributes)
        self.section, self._aliases = section, frozenset(aliases)

    def keys(self) -> Iterator[str]:
        """Yield the names that mean it in files and, in capitals, in the environment."""
        long = [name.lstrip("-") for name in self.opts if name.startswith("--")]
        yield from dict.fromkeys(name.replace("-", "_") for name in (*long, self.name or ""))

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the value of the first of its variables that is set and not empty."""
        if ctx.auto_envvar_prefix is None or not self.expose_value:
            return None
        name = set_variable(ctx, self)
        return None if name is None else os.environ[name]

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return how an error names it."""
        hint = next(name for name in self.opts if name not in self._aliases)
        if ctx and self.name:
            source = ctx.get_parameter_source(self.name)
            if source is ParameterSource.ENVIRONMENT:
                return f"'{hint}' (from ${set_variable(ctx, self)})"
        return f"'{hint}'"

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return its row in ``--help``, without the aliases."""
        every = self.opts
        self.opts = [name for name in every if name not in self._aliases]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = every


class Command(click.Command):
    """A command whose ``--help`` has sections: the usual options first."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Return what completes a word: no aliases."""
        aliases = {a for param in self.params for a in getattr(param, "_aliases", ())}
        found = super().shell_complete(ctx, incomplete)
        return [item for item in found if item.value not in aliases]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each section in the order in which it first appears."""
        sections: dict[str, list[tuple[str, str]]] = {USUAL: []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record:
                sections.setdefault(getattr(param, "section", GENERAL), []).append(record)
        sections[GENERAL] = sections.pop(GENERAL)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def option(*names: str, **attributes: Any) -> Any:
    """Return a field of a command's settings that is an option; see :class:`Option`."""
    return field(metadata={"param": lambda name: Option([*names, name], **attributes)})


def argument(**attributes: Any) -> Any:
    """Return a field of a command's settings that is an argument."""
    return field(metadata={"param": lambda name: click.Argument([name], **attributes)})


def _params(settings: type[Any]) -> list[click.Parameter]:
    """Return the parameters of a dataclass of options: its own before those it inherits."""
    own = settings.__annotations__
    ordered = sorted(fields(settings), key=lambda each: each.name not in own)
    return [each.metadata["param"](each.name) for each in ordered]


def command(
    settings: type[S], *, example: str, name: str = "", parent: click.Group | None = None
) -> Callable[[Callable[[S], Any]], click.Command]:
    """Make a function a command, which gets its options as *settings*.

    Parameters
    ----------
    settings : type
        A dataclass of :func:`option` and :func:`argument` fields.
    example : str
        A command line for the end of ``--help``, or several.
    name : str
        By default the function's.
    parent : click.Group or None
        Where it is a subcommand.
    """

    def decorate(function: Callable[[S], Any]) -> click.Command:
        made = Command(
            name or function.__name__,
            callback=lambda **values: function(settings(**values)),
            params=_params(settings) + common_params(),
            help=cleandoc(function.__doc__ or ""),
            epilog=f"Example: {example}",
        )
        if parent is not None:
            parent.add_command(made)
        return made

    return decorate


def _load_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    ctx.meta["ctgkit.running"] = ctx
    config = find_config(value)
    path = ctx.command_path.split()
    section = path[1] if len(path) > 1 else path[0]  # `exam list` reads [exam]
    ctx.default_map = _defaults(ctx, config, section)
    ctx.obj = config


def _defaults(ctx: click.Context, config: Config, section: str) -> dict[str, Any]:
    """Return the values of a command's section, by parameter, each of them checked."""
    from ctgkit.cli.main import COMMANDS

    for name in config.commands:
        if name not in COMMANDS:
            raise ConfigError(str(config.path), f"unknown section [{name}]{near(name, COMMANDS)}")
    params: dict[str, click.Parameter] = {}
    for param in ctx.command.params:
        if isinstance(param, Option) and param.expose_value:
            params |= dict.fromkeys(param.keys(), param)
        elif isinstance(param, click.Option) and param.name and param.expose_value:
            params[param.name] = param
    found: dict[str, Any] = {}
    siblings = _keys_of_siblings(ctx)
    for key, setting in config.commands.get(section, {}).items():
        key_in_python = key.replace("-", "_")
        where = f"{config.path}, {section}.{key}"
        if key_in_python in params:
            param = params[key_in_python]
            assert param.name is not None
            found[param.name] = _checked(ctx, param, setting, where)
        elif key_in_python not in siblings:
            reason = f"unknown key{near(key, [k.replace('_', '-') for k in params])}"
            raise ConfigError(where, reason)
    return found


def _keys_of_siblings(ctx: click.Context) -> set[str]:
    """Return what the other subcommands of the same group know: they share a section."""
    group = ctx.parent.command if ctx.parent else None
    if ctx.parent is None or ctx.parent.parent is None or not isinstance(group, click.Group):
        return set()
    return {
        key
        for command in group.commands.values()
        for param in command.params
        for key in (param.keys() if isinstance(param, Option) else [param.name or ""])
    }


def _checked(ctx: click.Context, param: click.Parameter, setting: Any, where: str) -> Any:
    """Return a value of a configuration file, if the option can take it."""
    values = setting if isinstance(setting, list) else [setting]
    if isinstance(setting, list) and not param.multiple:
        raise ConfigError(where, "expected one value, got a list")
    for value in values:
        if not isinstance(value, str | int | float):
            raise ConfigError(where, f"cannot be {excerpt(repr(value))}")
    try:
        param.type_cast_value(ctx, values if param.multiple else setting)
    except click.BadParameter as error:
        raise ConfigError(where, error.message) from None
    return values if param.multiple else setting


def _set_verbosity(_ctx: click.Context, _param: click.Parameter, value: int) -> None:
    logging.getLogger().setLevel({0: logging.INFO, -1: logging.WARNING}.get(value, logging.DEBUG))


def _set_log_format(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        logs.use(value)


def common_params() -> list[click.Parameter]:
    """Return ``--config``, ``-v``, ``-q`` and ``--log-format``; the parsed file is ``ctx.obj``."""
    return [
        Option(
            ["--config"],
            section=GENERAL,
            type=File(),
            is_eager=True,
            expose_value=False,
            callback=_load_config,
            help="Configuration file; default: ./ctgkit.toml, then the user's.",
        ),
        Option(
            ["-v", "verbosity"],
            section=GENERAL,
            flag_value=1,
            default=0,
            type=int,
            expose_value=False,
            callback=_set_verbosity,
            help="Log more.",
        ),
        Option(
            ["-q", "verbosity"],
            section=GENERAL,
            flag_value=-1,
            type=int,
            expose_value=False,
            help="Log less.",
        ),
        Option(
            ["--log-format"],
            section=GENERAL,
            type=click.Choice(logs.FORMATS),
            is_eager=True,
            expose_value=False,
            callback=_set_log_format,
            help=f"Format of log lines; default: ${logs.VARIABLE}, or text.",
        ),
    ]


def common_options(command: F) -> F:
    """Add the options that all commands have to a function that click's own decorators describe."""
    known = getattr(command, "__click_params__", [])
    command.__click_params__ = [*reversed(common_params()), *known]  # type: ignore[attr-defined]
    return command


def current_config() -> Config:
    """Return the configuration of the running command."""
    config = click.get_current_context().obj
    assert isinstance(config, Config)
    return config


# Options that several commands have, with the same name and meaning


def json_option(help_text: str) -> Any:
    """Return ``--json``."""
    return option("--json", is_flag=True, section=OUTPUT, help=help_text)


def ready_file_option(help_text: str) -> Any:
    """Return ``--ready-file``."""
    return option("--ready-file", type=OutFile(), section=OUTPUT, help=help_text)


def seed_option(what: str, **more: Any) -> Any:
    """Return ``--seed``."""
    attributes = {"default": 0, "show_default": True} | more
    text = f"Random seed of {what}; the same seed gives the same bytes."
    return option("--seed", **{"type": SEED, "help": text} | attributes)


def connect_timeout_option() -> Any:
    """Return ``--connect-timeout``."""
    return option(
        "--connect-timeout",
        type=PAUSE,
        default=10.0,
        section="Connection",
        help="Give up if the first connection is not made within S seconds. A connection that is"
        " lost later is retried indefinitely.",
    )


def viewer_token_option(section: str = "Connection", aliases: Sequence[str] = ()) -> Any:
    """Return ``--viewer-token-file``."""
    return option(
        "--viewer-token-file",
        type=File(exists=True),
        aliases=aliases,
        section=section,
        help="File with the viewer token, for a backend on another machine; default: the token in"
        " the configuration.",
    )


def store_option(help_text: str, **more: Any) -> Any:
    """Return ``--store``."""
    return option("--store", **{"type": STORE, "help": help_text, **more})


def simulated_option() -> Any:
    """Return ``--simulated/--not-simulated``."""
    return option(
        "--simulated/--not-simulated",
        default=None,
        section=OUTPUT,
        help="Mark the data as simulated or not; default: as in the source.",
    )


def limit_handshakes() -> None:
    """Let a handshake hold 64 headers of 4 KiB at most; call it before a server is imported.

    The library's own limits make 1 MiB of a connection that hasn't said who it is.
    """
    os.environ.setdefault("WEBSOCKETS_MAX_NUM_HEADERS", "64")
    os.environ.setdefault("WEBSOCKETS_MAX_LINE_LENGTH", "4096")


def announce(url: str, *, as_json: bool, ready_file: Path | None) -> None:
    """Print the bound URL on one line of stdout, and write it to *ready_file*."""
    click.echo(json.dumps({"url": url}) if as_json else url)
    sys.stdout.flush()
    if ready_file is not None:
        partial = ready_file.with_name(ready_file.name + ".part")
        partial.write_text(url + "\n", encoding="utf-8")
        partial.replace(ready_file)  # whoever waits for the file never reads half of it
