"""``ctgkit doctor``: what this machine has and lacks."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import socket
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click

from ctgkit import __version__
from ctgkit.cli.options import command, current_config, json_option
from ctgkit.config import Config
from ctgkit.errors import CtgkitError, printable

PORTS = {8080: "ctgkit serve", 8081: "ctgkit ml", 9001: "ctgkit sensor --control"}
DISK_LEAST_MB = 500
"""Free space below which it warns. Chosen: a week of ten sensors."""
DESCRIPTORS_LEAST = 1024
YEAR_LEAST = 2026
State = Literal["ok", "note", "problem"]
SIGNS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """Options of `ctgkit doctor`."""

    as_json: bool = json_option("One JSON object per finding.")


@command(DoctorOptions, example="ctgkit doctor --json")
def doctor(options: DoctorOptions) -> int:
    """Check this machine: versions, extras, ports, permissions, database, clock.

    Nothing is changed or created. Exit code 1 if a problem would keep a command from working.
    """
    found = list(examine(current_config()))
    for one in found:
        text = printable(f"{SIGNS[one.state]} {one.what}: {one.text}")
        click.echo(json.dumps(asdict(one)) if options.as_json else text)
    return 1 if any(one.state == "problem" for one in found) else 0


def examine(config: Config) -> Iterator[Finding]:
    """Yield what there is to say."""
    yield Finding("ctgkit", "ok", f"{__version__} in {Path(__file__).parent}")
    yield Finding("Python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield Finding("system", "ok", platform.platform())
    yield _sqlite()
    yield from _extras()
    yield _loop()
    yield _configuration(config)
    yield from _ports()
    yield _database(config)
    yield _descriptors()
    yield _clock()


def _sqlite() -> Finding:
    version = sqlite3.sqlite_version
    old = sqlite3.sqlite_version_info < (3, 35)
    return Finding("SQLite", "problem" if old else "ok", version + " (3.35 is needed)" * old)


def _extras() -> Iterator[Finding]:
    """Yield each extra, by what the package itself declares."""
    wanted: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("ctgkit") or []:
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        name = re.match(r"[A-Za-z0-9_.-]+", line)
        if extra and name and extra[1] not in ("all", "dev", "docs"):
            wanted.setdefault(extra[1], []).append(name[0])
    for bundle, names in wanted.items():
        versions = {name: _version(name) for name in names}
        missing = [name for name, version in versions.items() if version is None]
        if missing:
            text = f"without {', '.join(missing)}: pip install 'ctgkit[{bundle}]'"
            yield Finding(f"extra {bundle}", "note", text)
        else:
            text = ", ".join(f"{name} {version}" for name, version in versions.items())
            yield Finding(f"extra {bundle}", "ok", text)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _loop() -> Finding:
    fast = importlib.util.find_spec("uvloop") is not None
    return Finding("event loop", "ok", "uvloop" if fast else "asyncio's own")


def _configuration(config: Config) -> Finding:
    if config.path is None:
        return Finding("configuration", "ok", "none; `ctgkit init` writes one")
    try:
        mode = stat.S_IMODE(config.path.stat().st_mode)
    except OSError as error:
        return Finding("configuration", "problem", f"{config.path}: {error.strerror}")
    secret = config.viewer_token or any(one.token for one in config.sensors)
    text = f"{config.path}, {len(config.sensors)} sensors, mode {mode:04o}"
    if secret and mode & 0o077:
        return Finding("configuration", "note", f"{text}: `chmod 600` protects its tokens")
    return Finding("configuration", "ok", text)


def _ports() -> Iterator[Finding]:
    for port, whose in PORTS.items():
        with socket.socket() as one:
            one.settimeout(0.5)
            taken = one.connect_ex(("127.0.0.1", port)) == 0
        text = f"taken: {whose} listens there by default" if taken else f"free ({whose})"
        yield Finding(f"port {port}", "note" if taken else "ok", text)


def _database(config: Config) -> Finding:
    """Return what there is to say of the database that `ctgkit serve` would use."""
    from ctgkit.server.exam import database_of, opened

    state: State = "ok"
    try:
        where = database_of(config, None)
        text = str(where)
        if isinstance(where, Path):
            if not os.access(where if where.exists() else where.parent, os.W_OK):
                return Finding("database", "problem", f"{where}: permission denied")
            free_mb = _free_mb(where.parent)
            state = "note" if free_mb < DISK_LEAST_MB else "ok"
            text += f", {free_mb} MB free"
            if not where.exists():
                return Finding("database", state, f"{text}; made at the first start")
        with opened(where) as reader:
            held = len(reader.examinations())
            text += f", {held} examination{'s' * (held != 1)}"
    except CtgkitError as error:
        return Finding("database", "problem", str(error))
    return Finding("database", state, text)


def _free_mb(folder: Path) -> int:
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize >> 20


def _descriptors() -> Finding:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{soft} at a time (at most {hard}): about as many sensors and viewers"
    return Finding("open files", "note" if soft < DESCRIPTORS_LEAST else "ok", text)


def _clock() -> Finding:
    now = datetime.now(UTC)
    ahead_s = time.get_clock_info("time").resolution
    wrong = now.year < YEAR_LEAST or ahead_s > 0.1
    text = f"{now:%Y-%m-%dT%H:%M:%SZ}, resolution {ahead_s:g} s, time zone {time.tzname[0]}"
    return Finding("clock", "problem" if wrong else "ok", text)
