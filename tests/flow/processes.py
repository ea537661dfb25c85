"""Real `ctgkit …` processes with directories of their own, and what to ask them."""

import asyncio
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from ctgkit.config import new_sensors, write_config
from tests.conftest import TIME_FACTOR

SHARED = Path(
    os.environ.get("CTGKIT_SHARED", Path(__file__).parent.parent.parent.parent / "shared")
)


async def until(condition, what, deadline_s=60.0):
    """Wait until *condition* returns something true; return that."""
    try:
        async with asyncio.timeout(deadline_s * TIME_FACTOR):
            while not (value := condition()):
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None
    return value


async def until_reports(url, expected, what, deadline_s=60.0):
    """Wait until the members of a backend's health are as expected; return the health."""
    health = {}

    def fits():
        return all(health.get(key) == value for key, value in expected.items())

    try:
        async with asyncio.timeout(deadline_s * TIME_FACTOR):
            while not fits():
                await asyncio.sleep(0.02)
                health = json.loads((await ask(url, "/api/health")).body)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}; last: {health}") from None
    return health


class Answered:
    """An HTTP answer."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


async def ask(url, path, *, method="GET", headers=None):
    """Make one HTTP request."""

    def go():
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        with closing(connection):
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            with answer:
                return Answered(answer.status, answer.headers, answer.read())

    return await asyncio.to_thread(go)


async def metric(url, name):
    """Return the sum of the metrics whose line starts with *name*."""
    text = (await ask(url, "/metrics")).body.decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def on_loop(name, directory):
    """Return the environment in which a process runs on ``"asyncio"`` or ``"uvloop"``."""
    if name == "uvloop":
        return {}
    place = directory / "no-uvloop"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text("import sys\nsys.modules['uvloop'] = None\n")
    return {"PYTHONPATH": str(place)}


class Process:
    """One running `ctgkit …`; what it prints goes to files."""

    def __init__(
        self, arguments, *, directory, env, number, preexec_fn=None, python=sys.executable
    ):
        self.name = f"{number:02d}-{arguments[0]}"
        self._out = directory / f"{self.name}.out"
        self._err = directory / f"{self.name}.err"
        self.url = ""
        with self._out.open("w") as out, self._err.open("w") as err:
            self._popen = subprocess.Popen(
                [python, "-m", "ctgkit", *arguments], cwd=directory, env=env,
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, preexec_fn=preexec_fn,
            )  # fmt: skip

    @property
    def out(self):
        return self._out.read_text()

    @property
    def err(self):
        return self._err.read_text()

    @property
    def running(self):
        return self._popen.poll() is None

    def lines(self):
        """Return the complete lines of stdout, each read as JSON."""
        return [json.loads(line) for line in self.out.splitlines(keepends=True) if line[-1] == "\n"]

    @property
    def pid(self):
        return self._popen.pid

    def send(self, number):
        self._popen.send_signal(number)

    def kill(self):
        """Send SIGKILL and wait for the end."""
        self._popen.kill()
        self._popen.wait()

    async def ended(self, deadline_s=60.0):
        """Wait for the end; return the exit code."""
        await until(lambda: not self.running, f"{self.name} ended", deadline_s)
        return self._popen.returncode

    async def stopped(self, deadline_s=60.0):
        """Send SIGTERM and wait for the end; return the exit code."""
        self.send(signal.SIGTERM)
        return await self.ended(deadline_s)

    async def announced(self):
        """Wait until it printed the URL that it is bound to."""

        def first_line():
            assert self.running, self.err
            printed, newline, _ = self.out.partition("\n")
            return printed if newline else ""

        self.url = await until(first_line, f"{self.name} printed its URL")
        return self


class System:
    """Processes that share a working directory, a configuration and a user."""

    def __init__(self, directory):
        self.directory = directory
        self.database = directory / "ctg.db"
        homes = ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CTGKIT_")}
        self._env = kept | {name: str(directory / name) for name in homes}
        self._processes = []

    def configure(self, count=3, control_port=None):
        """Write a ctgkit.toml with *count* sensors; return them."""
        sensors = new_sensors(count, control_port)
        write_config(self.directory / "ctgkit.toml", sensors)
        return sensors

    def start(self, *arguments, env=None, **more):
        process = Process(
            [str(a) for a in arguments], directory=self.directory, env=self._env | (env or {}),
            number=len(self._processes), **more,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def serve(self, *arguments, port=0, ml="none", **options):
        """Start a backend on the system's database; await its ``announced()``."""
        return self.start(
            *("serve", "--port", port, "--store", f"sqlite:///{self.database}", "--ml", ml),
            *("--ml-retry", 0.1, *arguments),
            **options,
        )

    def end(self):
        """Kill what still runs."""
        for process in self._processes:
            process.kill()

    def query(self, sql, *arguments, database=None):
        """Return rows of the database."""
        with closing(sqlite3.connect(database or self.database)) as db:
            return db.execute(sql, arguments).fetchall()

    def assert_sound(self, database=None):
        """Assert that nothing is stored twice and the file is in order."""
        twice = self.query(
            "SELECT uuid, seq, count(*) FROM ctg WHERE seq IS NOT NULL"
            " GROUP BY uuid, seq HAVING count(*) > 1",
            database=database,
        )
        assert twice == []
        assert self.query("PRAGMA integrity_check", database=database) == [("ok",)]
        assert self.query("PRAGMA foreign_key_check", database=database) == []


def sensor_url(url):
    """Return a backend's sensor endpoint."""
    return url.replace("http", "ws", 1) + "/ws/sensor"
