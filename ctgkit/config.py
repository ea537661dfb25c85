"""``ctgkit.toml``: options per command, and the sensors' credentials.

A file looks like this; every part may be missing::

    viewer_token = "…"          # asked from viewers when serve is bound beyond loopback
    [serve]                     # any option of `ctgkit serve`, by its long name
    port = 8080
    [[sensors]]
    id = "uuid"
    token = "…"                 # may be removed once serve has started: its database has the digest
    bed = "default"             # sensors of one bed share an examination
    name = "Anna K."            # of the patient, for the live page
    control = "127.0.0.1:9001"  # where /api/sensors/start|stop reach it

Searched: the path given, ``./ctgkit.toml``, then the user's configuration directory.
"""

import os
import re
import secrets
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ctgkit import private, toml
from ctgkit.errors import ConfigError, excerpt, near
from ctgkit.net.addresses import host_and_port

FILE_NAME = "ctgkit.toml"
DEFAULT_BED = "default"
DEFAULT_SENSORS = 3
MAX_BYTES = 4 << 20
"""Largest configuration. Chosen: ten thousand sensors fill 1.7 MB."""
TOKEN_MIN_CHARS = 16
"""Shortest token beyond loopback. Chosen: 96 bits in the alphabet that `ctgkit init` uses."""
_TOP_KEYS = {"viewer_token", "sensors"}
_UUID = re.compile("-?".join(f"[0-9A-Fa-f]{{{n}}}" for n in (8, 4, 4, 4, 12)))
_Text = Annotated[str, msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorEntry:
    """One sensor that the backend knows."""

    id: str
    """UUID, lower case."""
    token: str = field(repr=False)
    """Empty when only the backend's database knows its digest."""
    bed: str = DEFAULT_BED
    name: str = ""
    """Of the patient, as the live page shows it."""
    control: str | None = None
    """``HOST:PORT`` of its control address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A parsed configuration file; empty when there is none."""

    path: Path | None = None
    commands: dict[str, dict[str, Any]]
    sensors: tuple[SensorEntry, ...] = ()
    viewer_token: str | None = field(default=None, repr=False)
    is_projects: bool = False
    """Whether it is a project's: the file given, or the one in the working directory."""


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
        When the file is missing, not TOML, has a member we don't know, or others may write it.
    """
    if path is None:
        import platformdirs

        candidates = (Path(FILE_NAME), platformdirs.user_config_path("ctgkit") / FILE_NAME)
        found = next((p for p in candidates if p.is_file()), None)
        if found is None:
            return Config(commands={})
        return replace(read_config(found), is_projects=found == candidates[0])
    return replace(read_config(path), is_projects=True)


class _Sensor(msgspec.Struct, forbid_unknown_fields=True):
    """One ``[[sensors]]`` as it is written."""

    id: str
    token: _Text | None = None
    bed: _Text = DEFAULT_BED
    name: str = ""
    control: _Text | None = None


class _Top(msgspec.Struct):
    """What is not an option of a command."""

    sensors: list[_Sensor] = []
    viewer_token: _Text | None = None


def read_config(path: Path) -> Config:
    """Read one configuration file; see :func:`find_config` for the errors."""
    where = str(path)
    content, loose = private.read(path, MAX_BYTES)
    document = toml.parse(toml.decoded(content, where, MAX_BYTES), where)
    commands = {k: v for k, v in document.items() if isinstance(v, dict) and k not in _TOP_KEYS}
    if stray := sorted(set(document) - set(commands) - _TOP_KEYS):
        raise ConfigError(where, f"unknown key {stray[0]!r}{near(stray[0], _TOP_KEYS)}")
    top = toml.converted(document, _Top, where)
    sensors = tuple(_entry(f"{where}, sensors[{n}]", s) for n, s in enumerate(top.sensors))
    _demand_plain(f"{where}, viewer_token", top.viewer_token)
    if len({s.id for s in sensors}) < len(sensors):
        raise ConfigError(where, "two [[sensors]] have the same id")
    secret = top.viewer_token is not None or any(s.token for s in sensors)
    loose.complain(path, secret=secret)
    return Config(path=path, commands=commands, sensors=sensors, viewer_token=top.viewer_token)


def _entry(where: str, sensor: _Sensor) -> SensorEntry:
    try:
        sensor_id = sensor_id_of(sensor.id)
    except ValueError as error:
        raise ConfigError(f"{where}.id", str(error)) from None
    if sensor.control is not None:
        try:
            port = host_and_port(sensor.control)[1]
        except ValueError:
            port = 0
        if port == 0:
            raise ConfigError(f"{where}.control", f"{excerpt(sensor.control)!r} is not HOST:PORT")
    _demand_plain(f"{where}.token", sensor.token)
    for member, text in (("bed", sensor.bed), ("name", sensor.name)):
        if not text.isprintable():
            raise ConfigError(f"{where}.{member}", "contains unprintable characters")
    return SensorEntry(
        id=sensor_id,
        token=sensor.token or "",
        bed=sensor.bed,
        name=sensor.name,
        control=sensor.control,
    )


def sensor_id_of(text: str) -> str:
    """Return a sensor's id as it is compared: lower case, with hyphens.

    Raises
    ------
    ValueError
        When it is no UUID: braces, ``urn:`` and digits of other scripts make it none.
    """
    if not _UUID.fullmatch(text.strip()):
        raise ValueError(f"{excerpt(text)!r} is not a UUID")
    return str(uuid.UUID(text.strip()))


def _demand_plain(where: str, token: str | None) -> None:
    """Refuse a token that no header can carry."""
    if token and not (token.isascii() and token.isprintable()):
        raise ConfigError(where, "is not one line of plain text")


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
        '# store = "sqlite:///ctgkit.db"  # the default: beside this file',
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
        raise ConfigError(str(path), f"cannot be written: {error.strerror}") from error


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


def demand_real_credentials(config: Config, host: str, *, viewers: bool) -> None:
    """Refuse to serve a network with tokens that somebody could guess.

    Raises
    ------
    ConfigError
        When one is missing or too short.
    """
    tokens = {f"token of sensor {s.id}": s.token for s in config.sensors if s.token}
    if viewers:
        tokens["viewer_token"] = config.viewer_token or ""
    for name, token in tokens.items():
        if len(token) < TOKEN_MIN_CHARS or len(set(token)) < TOKEN_MIN_CHARS // 2:
            what = "is missing" if not token else "is too easy to guess"
            hint = f"`ctgkit init` makes good ones, {TOKEN_MIN_CHARS} characters are the least"
            if name == "viewer_token":
                hint += "; --public-viewers needs none"
            raise ConfigError(str(config.path), f"{name} {what}, to serve on {host}: {hint}")
