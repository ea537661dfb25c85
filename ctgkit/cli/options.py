"""What the commands have in common: configuration, verbosity, speed, readiness."""

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ctgkit.config import Config, SensorEntry, default_credentials, find_config
from ctgkit.errors import ConfigError, near

if TYPE_CHECKING:
    from ctgkit.faults.fault import Fault

F = TypeVar("F", bound=Callable[..., Any])

TOKEN_VARIABLE = "CTGKIT_SENSOR_TOKEN"
"""The environment variable with a sensor's token: never on the command line, where all see it."""


def _load_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    config = find_config(value)
    command = ctx.command_path.split()[1]  # `exam list` reads [exam]
    section = config.commands.get(command, {})
    names = {p.name for p in ctx.command.params if p.name}
    defaults = {key.replace("-", "_"): setting for key, setting in section.items()}
    for key in defaults:
        if key not in names:
            reason = f"unknown key {key!r}{near(key, names)}"
            raise ConfigError(f"{config.path}: [{command}]", reason)
    ctx.default_map = defaults
    ctx.obj = config


def _set_verbosity(_ctx: click.Context, _param: click.Parameter, value: int) -> None:
    logging.getLogger().setLevel({0: logging.INFO, -1: logging.WARNING}.get(value, logging.DEBUG))


def common_options(command: F) -> F:
    """Add ``--config``, ``-v`` and ``-q``; the parsed file is ``ctx.obj``."""
    for option in (
        click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            is_eager=True,
            expose_value=False,
            callback=_load_config,
            help="Configuration file; default ./ctgkit.toml, then the user's.",
        ),
        click.option(
            "-v",
            "verbosity",
            flag_value=1,
            default=0,
            type=int,
            expose_value=False,
            callback=_set_verbosity,
            help="Log more.",
        ),
        click.option(
            "-q", "verbosity", flag_value=-1, type=int, expose_value=False, help="Log less."
        ),
    ):
        command = option(command)
    return command


def current_config() -> Config:
    """Return the configuration of the running command."""
    config = click.get_current_context().obj
    assert isinstance(config, Config)
    return config


def known_sensors() -> tuple[SensorEntry, ...]:
    """Return the sensors with a token: configured, or made by `ctgkit serve` for this user."""
    configured = current_config().sensors or default_credentials(create=False).sensors
    return tuple(sensor for sensor in configured if sensor.token)


def limit_handshakes() -> None:
    """Let a handshake hold 64 headers of 4 KiB at most; call it before a server is imported.

    The library's own limits make 1 MiB of a connection that hasn't said who it is.
    """
    os.environ.setdefault("WEBSOCKETS_MAX_NUM_HEADERS", "64")
    os.environ.setdefault("WEBSOCKETS_MAX_LINE_LENGTH", "4096")


def line_of(path: Path) -> str:
    """Return the one line of plain text, a token, in a file; a ConfigError when it isn't that."""
    text = path.read_bytes().decode("ascii", "replace").strip()
    if not (text and text.isascii() and text.isprintable()):
        raise ConfigError(str(path), "is not one line of plain text")
    return text


def viewer_token(file: Path | None) -> str | None:
    """Return the viewer token in a file, or else the configured one."""
    return line_of(file) if file else current_config().viewer_token


def address_of(text: str, option: str) -> tuple[str, int]:
    """Return the host and the port, not 0, that *option* names as ``HOST:PORT``."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{text!r} is not HOST:PORT", param_hint=option)
    return host.strip("[]") or "127.0.0.1", int(port)


class Speed(click.ParamType[float]):
    """A positive factor, or ``max`` for as fast as possible (infinity)."""

    name = "X|max"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the factor; ``inf`` for ``max``."""
        if value == "max":
            return float("inf")
        try:
            speed = float(value)
        except (TypeError, ValueError):
            speed = 0.0
        if not speed > 0:
            self.fail(f"{value!r} is neither a positive number nor 'max'", param, ctx)
        return speed


class Address(click.ParamType[tuple[str, int]]):
    """``HOST:PORT``; without a host loopback, with port 0 any free one."""

    name = "HOST:PORT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Return host and port."""
        if isinstance(value, tuple):
            return value
        host, _, port = str(value).rpartition(":")
        if not port.isdecimal() or int(port) > 65535:
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return host.strip("[]") or "127.0.0.1", int(port)


class FaultOption(click.ParamType["Fault"]):
    """A fault, such as ``drop:rate=0.01``."""

    name = "KIND[:NAME=VALUE,…]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Fault":
        """Return the fault."""
        from ctgkit.faults.schema import FaultError, parse_fault

        try:
            return parse_fault(str(value))
        except FaultError as error:
            self.fail(f"{value}: {error}", param, ctx)


def websocket_option(url: str, default_path: str, option: str) -> str:
    """Return the WebSocket address that an option's *url* means, or complain."""
    from ctgkit.net.addresses import websocket_url

    try:
        return websocket_url(url, default_path)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def announce(url: str, *, as_json: bool, ready_file: Path | None) -> None:
    """Print the bound URL on one line of stdout, and write it to *ready_file*."""
    click.echo(json.dumps({"url": url}) if as_json else url)
    sys.stdout.flush()
    if ready_file is not None:
        partial = ready_file.with_name(ready_file.name + ".part")
        partial.write_text(url + "\n", encoding="utf-8")
        partial.replace(ready_file)  # whoever waits for the file never reads half of it
