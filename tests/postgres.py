"""A PostgreSQL of the tests' own: initdb in a temporary folder, started as an unprivileged user."""

import asyncio
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.extras import need
from tests.ports import free_port

PASSWORD = "not a secret"  # of a database that lives as long as the tests
NAMES = itertools.count()


def binaries():
    """Return the folder of the newest server's programs; None when there is none."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3])
    )
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def user():
    """Return whom the server runs as: it refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


class Cluster:
    """One server with its data; `kill` is a power cut without the cut."""

    def __init__(self, folder, *, like=None):
        self.folder, self.data = folder, folder / "data"
        self.bin, self.user = binaries(), user()
        self.port = free_port()
        self.settings = {"fsync": "off", "max_connections": "60", "shared_buffers": "32MB"}
        self._process = None
        if like is None:
            passwords = folder / "password"
            passwords.write_text(PASSWORD)
            self._own(folder)
            self.run("initdb", "-D", self.data, "-U", "ctg", "--no-sync", "--no-locale", "-E",
                "UTF8", "--auth-local=trust", "--auth-host=scram-sha-256",
                f"--pwfile={passwords}")  # fmt: skip
        else:
            self._own(folder)
            self.run("pg_basebackup", "-D", self.data, "-R", "-X", "stream", "--no-sync", "-c",
                "fast", "-d", f"{like.dsn('postgres')}&application_name=standby")  # fmt: skip

    @property
    def pid(self):
        return self._process.pid

    def _own(self, folder):
        if self.user is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def _as_user(self):
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def run(self, program, *arguments):
        done = subprocess.run(
            [self.bin / program, *map(str, arguments)], cwd="/", capture_output=True, text=True,
            **self._as_user(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def start(self):
        fixed = {"port": self.port, "unix_socket_directories": self.folder}
        settings = {"listen_addresses": "127.0.0.1"} | self.settings | fixed
        options = [word for k, v in settings.items() for word in ("-c", f"{k}={v}")]
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.data, *options], cwd="/", stdout=log,
                stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, **self._as_user(),
            )  # fmt: skip
        until_s = time.monotonic() + 60
        while subprocess.run(
            [self.bin / "pg_isready", "-q", "-h", self.folder, "-p", str(self.port)], check=False
        ).returncode:
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < until_s, "the server does not start"
            time.sleep(0.05)
        return self

    def signal(self, number):
        """Send a signal to every process of the server."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        for child in self._children():  # each backend has a session of its own
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    def _children(self):
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in path.read_text().split()]
        return []

    def kill(self):
        self.signal(signal.SIGKILL)
        self._process.wait()

    def stop(self):
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def promote(self):
        self.run("pg_ctl", "promote", "-D", self.data, "-w")

    def dsn(self, database, *, host=True, password=True, who="ctg"):
        """Return an address: over TCP with a password, or by the socket without."""
        if host:
            secret = ":" + PASSWORD.replace(" ", "%20") if password else ""
            return f"postgresql://{who}{secret}@127.0.0.1:{self.port}/{database}?sslmode=disable"
        return f"postgresql://{who}@/{database}?host={self.folder}&port={self.port}"

    async def database(self):
        """Make an empty database; return its address."""
        name = f"ward_{next(NAMES)}"
        await query(self.dsn("postgres", host=False), f"CREATE DATABASE {name}")
        return self.dsn(name, host=False)


async def query(dsn, sql, *arguments):
    """Return the rows of a statement as tuples."""
    import asyncpg

    connection = await asyncpg.connect(dsn, timeout=60)
    try:
        return [tuple(row) for row in await connection.fetch(sql, *arguments)]
    finally:
        await connection.close()


def asked(dsn, sql, *arguments):
    """Do the same where there is no event loop."""
    return asyncio.run(query(dsn, sql, *arguments))


def demand():
    """Skip where PostgreSQL cannot be run."""
    need("asyncpg")
    if binaries() is None:
        pytest.skip("no PostgreSQL server (Debian: apt-get install postgresql)")
    if os.geteuid() == 0 and user() is None:
        pytest.skip("PostgreSQL refuses root, and there is no unprivileged user")


@contextlib.contextmanager
def clusters():
    """Yield a function that makes clusters in a folder that goes away."""
    demand()
    folder = Path(tempfile.mkdtemp(prefix="ctgkit-pg-"))
    folder.chmod(0o755)
    made = []

    def make(**more):
        place = folder / str(len(made))
        place.mkdir()
        made.append(Cluster(place, **more))
        return made[-1]

    try:
        yield make
    finally:
        for cluster in made:
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
