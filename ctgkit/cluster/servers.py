"""A PostgreSQL and a NATS of our own: in a temporary folder, on no network, gone at the end."""

import asyncio
import contextlib
import importlib.util
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ctgkit.dsn import Dsn
from ctgkit.errors import ConfigError, CtgkitError, excerpt

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/bin:/usr/local/sbin"

_PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to clients, which would take one while its server is away."""


class NotInstalled(CtgkitError):
    """A program that is needed isn't there."""

    exit_code = 2

    def __init__(self, program: str, package: str) -> None:
        super().__init__(program, package)
        self.program, self.package = program, package

    def __str__(self) -> str:
        return (
            f"{self.program} is not installed, the nodes' database needs it"
            f" (Debian: apt-get install {self.package}); `ctgkit demo` without --nodes doesn't"
        )


def postgres_programs() -> Path:
    """Return the folder of the newest PostgreSQL server's programs.

    Raises
    ------
    NotInstalled
        When there is none.
    """
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: float(path.parts[-2]))
    on_path = shutil.which("initdb", path=_PATH)
    if on_path is None:
        raise NotInstalled("PostgreSQL's initdb", "postgresql")
    return Path(on_path).resolve().parent


def nats_program() -> str | None:
    """Return where nats-server is; None: nowhere, or the library that speaks to it is missing."""
    if importlib.util.find_spec("nats") is None:
        return None
    return shutil.which("nats-server", path=_PATH)


def free_port() -> int:
    """Return a port of this machine that nobody listens on, nor will while its server is away."""
    for port in random.sample(_PORTS, 100):
        with contextlib.closing(socket.socket()) as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise ConfigError("127.0.0.1", f"no port from {_PORTS[0]} to {_PORTS[-1]} is free")


def _unprivileged() -> dict[str, Any]:
    """Return as whom PostgreSQL runs: it refuses root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise ConfigError("PostgreSQL", "it refuses to run as root, and there is no other user")


@contextlib.asynccontextmanager
async def own_postgres(folder: Path) -> AsyncIterator[Dsn]:
    """Run a new PostgreSQL in a folder, reached by a socket that only this user can open.

    Raises
    ------
    NotInstalled
        When there is none.
    ConfigError
        When it does not start.
    """
    programs, who = postgres_programs(), _unprivileged()
    place = folder / "postgres"
    place.mkdir(mode=0o700)
    if who:
        os.chmod(folder, 0o711)  # noqa: S103 (it has to come through)
        os.chown(place, who["user"], who["group"])
    data, log = place / "data", folder / "postgres.log"
    await asyncio.to_thread(
        _run, programs / "initdb", "-D", data, "-U", "ctg", "-A", "trust", "-E", "UTF8",
        "--no-locale", "--no-sync", **who,
    )  # fmt: skip
    settings = {"listen_addresses": "", "unix_socket_directories": place, "max_connections": 200}
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    with log.open("wb") as output:
        server = start(programs / "postgres", "-D", data, *options, output=output, **who)
    try:
        probe = [str(programs / "pg_isready"), "-q", "-h", str(place)]
        await _until_it_answers("PostgreSQL", server, log, lambda: not subprocess.call(probe))  # noqa: S603 (ours)
        yield Dsn(f"postgresql://ctg@/postgres?host={place}")
    finally:
        await asyncio.to_thread(_end, server, signal.SIGQUIT)


@contextlib.asynccontextmanager
async def own_nats(folder: Path) -> AsyncIterator[str | None]:
    """Run a NATS and yield its address; None where it isn't installed."""
    program = nats_program()
    if program is None:
        yield None
        return
    port, log = free_port(), folder / "nats.log"
    with log.open("wb") as output:
        server = start(program, "-a", "127.0.0.1", "-p", port, output=output)

    def answers() -> bool:
        with contextlib.closing(socket.socket()) as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    try:
        await _until_it_answers("nats-server", server, log, answers)
        yield f"nats://127.0.0.1:{port}"
    finally:
        await asyncio.to_thread(_end, server, signal.SIGTERM)


def start(*words: object, output: Any, **more: Any) -> "subprocess.Popen[bytes]":
    """Start a program that Ctrl-C on our terminal doesn't reach."""
    return subprocess.Popen(  # noqa: S603 (our own words)
        [str(word) for word in words], stdin=subprocess.DEVNULL, stderr=output,
        start_new_session=True, cwd="/", **{"stdout": output} | more,
    )  # fmt: skip


def _run(*words: object, **who: Any) -> None:
    done = subprocess.run(  # noqa: S603 (our own words)
        [str(word) for word in words], check=False, capture_output=True, text=True, cwd="/", **who
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(Path(str(words[0])).name, excerpt(said))


async def _until_it_answers(
    name: str, server: "subprocess.Popen[bytes]", log: Path, answers: Any
) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_TIMEOUT_S):
            while server.poll() is None:
                if await asyncio.to_thread(answers):
                    return
                await asyncio.sleep(0.05)
    raise ConfigError(name, f"does not start: {last_line(log)}")


def last_line(log: Path) -> str:
    """Return the last that a program said."""
    return excerpt(
        (log.read_text(errors="replace").strip().splitlines() or ["it wrote nothing"])[-1]
    )


def _end(server: "subprocess.Popen[bytes]", how: signal.Signals) -> None:
    server.send_signal(how)
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
