"""What is judged, as a process that the checker starts and stops: ``--run CMD``."""

import asyncio
import contextlib
import os
import shlex
import signal
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ctgkit.check.connection import Target, answers
from ctgkit.errors import ConfigError, Unreachable

EXCERPT_LINES, EXCERPT_MAX_BYTES = 5, 2000
GONE_WITHIN_S = 10.0
STORE_VARIABLE = "CTGKIT_SERVE_STORE"


class Launched:
    """A command that runs what is judged.

    Parameters
    ----------
    command : str
        As a shell would split it; no shell runs it.
    target : Target or None
        Where it will listen; None for what dials, and is ready when it does.
    log : Path
        Gets what it writes to stdout and stderr.
    ready_file : Path, optional
        It appears when it is ready; without it, its port says so.
    wait_s : float
        How long it may take to become ready, seconds.
    own_database : bool
        Whether `ctgkit serve`, unless its command line says where it stores, gets a database that
        is gone in the end: what a checker sends is nobody's data.
    """

    def __init__(
        self,
        command: str,
        target: Target | None,
        log: Path,
        ready_file: Path | None = None,
        wait_s: float = 0.0,
        *,
        own_database: bool = False,
    ) -> None:
        self._argv = shlex.split(command)
        self._own_database, self._environment = own_database, dict(os.environ)
        self._target, self.log, self._ready_file, self._wait_s = target, log, ready_file, wait_s
        self._process: Process | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start it, and stop it in the end.

        Raises
        ------
        ConfigError
            When the port is taken already, or the command can't be started.
        Unreachable
            When it doesn't become ready.
        """
        if self._target and await answers(self._target, 0.0):
            raise ConfigError("--run", f"something listens at {self._target.web_url} already")
        with tempfile.TemporaryDirectory(
            prefix="ctgkit-check-", ignore_cleanup_errors=True
        ) as folder:
            if self._own_database:
                self._environment[STORE_VARIABLE] = f"sqlite:///{folder}/ctgkit.db"
            try:
                if not await self.start() and self._target:
                    reason = f"not ready after --run: {self.excerpt()}"
                    raise Unreachable(self._target.web_url, reason)
                yield
            finally:
                await self.stop_quietly()

    async def start(self) -> bool:
        """Start it and wait until it is ready; return whether it is."""
        if self._ready_file:
            self._ready_file.unlink(missing_ok=True)
        self._process = await self._spawn()
        if self._target is None:
            return True
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._wait_s
        while loop.time() < deadline_s:
            if self._process.returncode is not None:
                return False
            ready = self._ready_file is None or self._ready_file.exists()
            if ready and await answers(self._target, 0.0):
                return True
            await asyncio.sleep(0.05)
        return False

    @property
    def has_failed(self) -> bool:
        """Whether it has ended with an exit code other than 0."""
        return self._process is not None and bool(self._process.returncode)

    async def _spawn(self) -> Process:
        with self.log.open("ab") as log:
            try:
                return await asyncio.create_subprocess_exec(
                    *self._argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise ConfigError("--run", f"{self._argv[0]}: {error.strerror}") from error

    async def second(self, within_s: float) -> int | None:
        """Start it once more beside itself; return its exit code, None when it stays."""
        other = await self._spawn()
        code = await _ended(other, within_s)
        _signal(other, signal.SIGKILL)
        await other.wait()
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and its children."""
        assert self._process is not None
        _signal(self._process, number)

    async def ended(self, within_s: float) -> int | None:
        """Return its exit code, None when it still runs after *within_s* seconds."""
        assert self._process is not None
        return await _ended(self._process, within_s)

    async def kill(self) -> None:
        """Let it die as in a crash."""
        if self._process is not None:
            _signal(self._process, signal.SIGKILL)
            await self._process.wait()

    async def stop_quietly(self) -> None:
        """Stop it, one way or the other."""
        if self._process is not None and self._process.returncode is None:
            _signal(self._process, signal.SIGTERM)
            await _ended(self._process, GONE_WITHIN_S)
        await self.kill()

    def excerpt(self) -> str:
        """Return the last lines that it wrote."""
        try:
            text = self.log.read_bytes()[-EXCERPT_MAX_BYTES:].decode(errors="replace")
        except OSError:
            return ""
        return " | ".join(text.strip().splitlines()[-EXCERPT_LINES:]) or "it wrote nothing"


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def _ended(process: Process, within_s: float) -> int | None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            return await process.wait()
    return None
