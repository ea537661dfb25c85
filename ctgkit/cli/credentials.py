"""Whose tokens a command uses: a token file, the environment, the configuration, the user's own."""

import os
from pathlib import Path
from typing import Any

import click

from ctgkit import private
from ctgkit.cli.options import current_config, option
from ctgkit.cli.types import SENSOR_ID, File
from ctgkit.config import SensorEntry, default_credentials

TOKEN_VARIABLE = "CTGKIT_SENSOR_TOKEN"
"""The environment variable with a sensor's token: never on the command line, where all see it."""


def sensor_id_option(help_text: str, **more: Any) -> Any:
    """Return ``--sensor-id``."""
    return option("--sensor-id", type=SENSOR_ID, help=help_text, **more)


def token_file_option(of: str = "--sensor-id", **more: Any) -> Any:
    """Return ``--token-file``."""
    return option(
        "--token-file",
        type=File(exists=True),
        help=f"File with the token of {of}; default: ${TOKEN_VARIABLE}, then the configuration.",
        **more,
    )


def known_sensors() -> tuple[SensorEntry, ...]:
    """Return the sensors with a token: configured, or made by `ctgkit serve` for this user."""
    configured = current_config().sensors or default_credentials(create=False).sensors
    return tuple(sensor for sensor in configured if sensor.token)


def given_token(token_file: Path | None) -> str:
    """Return the token of a file, or else of the environment; empty without either."""
    if token_file is not None:
        return private.read_line(token_file)
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not (token.isascii() and token.isprintable()):
        raise click.UsageError(f"${TOKEN_VARIABLE} is not one line of plain text")
    return token


def sensors_for(
    sensor_id: str | None, token_file: Path | None, *, hint: str = "--sensor-id and --token-file"
) -> tuple[SensorEntry, ...]:
    """Return the sensors that a command may be, the one asked for first.

    Parameters
    ----------
    sensor_id : str or None
        The only one wanted.
    token_file : Path or None
        With its token.
    hint : str
        What else gives credentials, for the message where there are none.

    Raises
    ------
    click.UsageError
        When there are no credentials, or a token without an id.
    """
    if token := given_token(token_file):
        if sensor_id is None:
            raise click.UsageError(f"a token needs the sensor that it belongs to: give {hint}")
        return (SensorEntry(id=sensor_id, token=token),)
    known = known_sensors()
    if not known:
        raise click.UsageError(
            "no credentials: start `ctgkit serve` on this machine first, write a configuration"
            f" with `ctgkit init`, or give {hint}"
        )
    if sensor_id is None:
        return known
    chosen = tuple(entry for entry in known if entry.id == sensor_id)
    if not chosen:
        raise click.UsageError(f"no credentials for sensor {sensor_id}: give --token-file")
    return chosen


def viewer_token(file: Path | None) -> str | None:
    """Return the viewer token in a file, or else the configured one."""
    return private.read_line(file) if file else current_config().viewer_token
