"""Nodes as processes that are started again when they die, and a balancer in front of them."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Literal

from ctgkit.cluster.servers import free_port, last_line, start
from ctgkit.dsn import Dsn
from ctgkit.errors import ConfigError

AWAY_S = 3.0
"""How long a node that died stays away, seconds: long enough to be seen."""
STOP_TIMEOUT_S = 15.0
CHUNK_BYTES = 65_536

State = Literal["starting", "serving", "dead"]


class Node:
    """One `ctgkit serve`."""

    def __init__(
        self, name: str, folder: Path, words: Sequence[str], environment: dict[str, str]
    ) -> None:
        self.name, self.port = name, free_port()
        self.state: State = "starting"
        self.serves = asyncio.Event()
        """Set once it served."""
        self._log = folder / f"{name}.log"
        self._words = [sys.executable, "-m", "ctgkit", *words, "--port", str(self.port)]
        self._words += ["--node", name]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        return self._process.pid if self._process and self.state != "dead" else 0

    @property
    def url(self) -> str:
        """Where it is reached, past the balancer."""
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """Do what a power cut does."""
        if self._process is not None and self.state == "serving":
            self._process.kill()

    async def live(self, on_change: Callable[["Node"], None]) -> None:
        """Run; start again whenever it dies; stop it when cancelled."""
        try:
            while True:
                await self._start()
                self.state = "serving"
                self.serves.set()
                on_change(self)
                assert self._process is not None
                while self._process.poll() is None:  # noqa: ASYNC110 (a process has no event)
                    await asyncio.sleep(0.02)
                self.state = "dead"
                on_change(self)
                await asyncio.sleep(AWAY_S)
        finally:
            await self._stop()

    async def _start(self) -> None:
        self.state = "starting"
        with self._log.open("ab") as output:
            self._process = start(
                *self._words, output=output, stdout=subprocess.PIPE, env=self._environment
            )
        assert self._process.stdout is not None
        if not await asyncio.to_thread(self._process.stdout.readline):
            raise ConfigError(self.name, f"does not start: {last_line(self._log)}")

    async def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)
            if process.poll() is None:
                process.kill()
                process.wait()
        assert process.stdout is not None
        process.stdout.close()


def new_nodes(
    count: int, folder: Path, config: Path, dsn: Dsn, bus: str | None, ml_url: str
) -> list[Node]:
    """Return nodes that share a database, a bus and an ML service."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CTGKIT_")}
    shared = kept | {"CTGKIT_SERVE_STORE": dsn.text} | ({"CTGKIT_SERVE_BUS": bus} if bus else {})
    words = ["serve", "--config", str(config), "--ml", ml_url, "--ml-retry", "0.5"]
    return [Node(f"node{n}", folder, words, shared) for n in range(1, count + 1)]


@contextlib.asynccontextmanager
async def balanced(nodes: Sequence[Node]) -> AsyncIterator[str]:
    """Hand connections to the nodes in turn; yield ``http://HOST:PORT``.

    It passes bytes, and knows of a dead node when it refuses: what HAProxy is for otherwise.
    """
    turn = 0

    async def open_next() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        nonlocal turn
        for _ in nodes:
            turn += 1
            node = nodes[turn % len(nodes)]
            with contextlib.suppress(OSError):
                if node.state == "serving":
                    return await asyncio.open_connection("127.0.0.1", node.port)
        return None

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = await open_next()
        ends = [writer]
        try:
            if far is not None:
                ends.append(far[1])
                pipes = (_pass_on(reader, far[1]), _pass_on(far[0], writer))
                tasks = [asyncio.ensure_future(pipe) for pipe in pipes]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        finally:
            for end in ends:
                end.close()

    async with asyncio.TaskGroup() as tasks:
        connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = tasks.create_task(relay(reader, writer))
            connections.add(task)
            task.add_done_callback(connections.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in connections:
                task.cancel()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
