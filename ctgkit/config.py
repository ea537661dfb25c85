"""``ctgkit.toml``: options per command, and the sensors' credentials.

A file looks like this; every part may be missing::

    viewer_token = "…"          # asked from viewers when serve is bound beyond loopback
    [serve]                     # any option of `ctgkit serve`, by its long name
    port = 8080
    [[sensors]]
    id = "uuid"
    token = "…"                 # may go once serve has started with it: its database has the digest
    bed = "default"             # sensors of one bed share an examination
    control = "127.0.0.1:9001"  # where /api/sensors/start|stop reach it

Searched: the path given, ``./ctgkit.toml``, then the user's configuration directory.
"""

import os
import re
import secrets
import tomllib
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctgkit.errors import ConfigError

FILE_NAME = "ctgkit.toml"
DEFAULT_BED = "default"
DEFAULT_SENSORS = 3
_SENSOR_KEYS = {"id", "token", "bed", "control"}
_ADDRESS = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_TOP_KEYS = {"viewer_token", "sensors"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorEntry:
    """One sensor that the backend knows."""

    id: str
    """UUID, lower case."""
    token: str = field(repr=False)
    """Empty when only the backend's database knows its digest."""
    bed: str = DEFAULT_BED
    control: str | None = None
    """``HOST:PORT`` of its control address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A parsed configuration file; empty when there is none."""

    path: Path | None = None
    commands: dict[str, dict[str, Any]]
    sensors: tuple[SensorEntry, ...] = ()
    viewer_token: str | None = field(default=None, repr=False)


def state_dir() -> Path:
    """Return the user's directory for credentials and the default database, made if missing."""
    import platformdirs  # imported late: `ctgkit --help` doesn't need it

    directory = platformdirs.user_state_path("ctgkit")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory


def find_config(path: Path | None) -> Config:
    """Read the configuration file that applies.

    Parameters
    ----------
    path : Path or None
        A file that must exist, or None to look where files usually are.

    Raises
    ------
    ConfigError
        When the file is missing, not TOML, or has a member we don't know.
    """
    if path is None:
        import platformdirs

        candidates = (Path(FILE_NAME), platformdirs.user_config_path("ctgkit") / FILE_NAME)
        path = next((p for p in candidates if p.is_file()), None)
        if path is None:
            return Config(commands={})
    return read_config(path)


def read_config(path: Path) -> Config:
    """Read one configuration file; see :func:`find_config` for the errors."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), str(error)) from error
    commands = {k: v for k, v in content.items() if isinstance(v, dict)}
    if stray := set(content) - set(commands) - _TOP_KEYS:
        raise ConfigError(str(path), f"unknown key {sorted(stray)[0]!r}")
    entries = content.get("sensors", [])
    if not isinstance(entries, list):
        raise ConfigError(str(path), "sensors must be written as [[sensors]] tables")
    sensors = tuple(_sensor(path, n, entry) for n, entry in enumerate(entries, 1))
    if len({s.id for s in sensors}) < len(sensors):
        raise ConfigError(str(path), "two [[sensors]] have the same id")
    token = content.get("viewer_token")
    if token is not None and not (isinstance(token, str) and token):
        raise ConfigError(str(path), "viewer_token must be a non-empty string")
    return Config(path=path, commands=commands, sensors=sensors, viewer_token=token)


def _sensor(path: Path, n: int, entry: Any) -> SensorEntry:
    where = f"{path}: [[sensors]] number {n}"
    if not isinstance(entry, dict):
        raise ConfigError(where, "must be a table")
    if stray := set(entry) - _SENSOR_KEYS:
        raise ConfigError(where, f"unknown key {sorted(stray)[0]!r}")
    for key in entry:
        if not isinstance(entry[key], str) or not entry[key]:
            raise ConfigError(where, f"{key} must be a non-empty string")
    if "control" in entry and not _ADDRESS.fullmatch(entry["control"]):
        raise ConfigError(where, f"control is not HOST:PORT: {entry['control']!r}")
    try:
        sensor_id = str(uuid.UUID(entry["id"]))
        return SensorEntry(
            id=sensor_id,
            token=entry.get("token", ""),
            bed=entry.get("bed", DEFAULT_BED),
            control=entry.get("control"),
        )
    except KeyError as error:
        raise ConfigError(where, f"{error.args[0]} is missing") from error
    except ValueError as error:
        raise ConfigError(where, f"id is not a UUID: {entry['id']!r}") from error


def new_sensors(count: int, control_port: int | None = None) -> tuple[SensorEntry, ...]:
    """Return *count* sensors with random ids and tokens; control ports count up from the first."""
    return tuple(
        SensorEntry(
            id=str(uuid.uuid4()),
            token=secrets.token_urlsafe(24),
            control=None if control_port is None else f"127.0.0.1:{control_port + n}",
        )
        for n in range(count)
    )


def write_config(path: Path, sensors: tuple[SensorEntry, ...], *, replace: bool = False) -> None:
    """Write a configuration file with credentials, readable by its owner only (mode 0600).

    Raises
    ------
    ConfigError
        When the file exists and *replace* is false, or cannot be written.
    """
    lines = [
        "# CTGKit: options per command, and the sensors' credentials. Keep it secret.",
        f'viewer_token = "{secrets.token_urlsafe(24)}"',
        "",
        "[serve]",
        "# port = 8080",
        '# store = "sqlite:///ctgkit.db"',
    ]
    for sensor in sensors:
        lines += ["", "[[sensors]]", f'id = "{sensor.id}"', f'token = "{sensor.token}"']
        lines += [f'bed = "{sensor.bed}"']
        lines += [f'control = "{sensor.control}"'] if sensor.control else []
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if replace else os.O_EXCL)
    try:
        descriptor = os.open(path, flags, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)  # an existing file keeps its old mode otherwise
            file.write("\n".join(lines) + "\n")
    except FileExistsError as error:
        raise ConfigError(str(path), "exists already; --force replaces it") from error
    except OSError as error:
        raise ConfigError(str(path), str(error)) from error


def default_credentials(create: bool) -> Config:
    """Return the credentials in the user's state directory.

    Parameters
    ----------
    create : bool
        Make them (three sensors) when there are none: `serve` does, `sensor` only reads.
    """
    path = state_dir() / "credentials.toml"
    if not path.exists():
        if not create:
            return Config(commands={})
        write_config(path, new_sensors(DEFAULT_SENSORS, control_port=9001))
    return read_config(path)
