"""Floors to measure against and loads to measure with, each a process of its own.

``python -m benchmarks.load ROLE``, started by :class:`Role`, arguments on stdin. Servers
print their URL and run until killed. :func:`flood` sends as fast as it may, :func:`pace` at a
rate; both have framed everything before their clock starts, print ``"ready"``, and begin when a
line comes on stdin.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from ctgkit.net.eventloop import run
from ctgkit.net.frames import masked_text_frame, text_frame
from ctgkit.net.newcomers import BoundedConnection
from ctgkit.wire import decode_result_head

WRITE_BYTES = 65_536
RATE_HZ = 4.0
CONNECTS_AT_ONCE = 100
RESULT_TAIL = b',"prediction":null,"status":"ok","timestamp":"2026-01-01T00:00:00Z"}'


# --- floors --------------------------------------------------------------------------------------


async def receive(connection):
    """Receive; acknowledge the last sample where the URL says how many come."""
    query = parse_qs(urlsplit(connection.request.path).query)
    if "samples" in query:
        for _ in range(int(query["samples"][0])):
            await connection.recv(decode=False)
        await connection.send(f'{{"ack":{query["last"][0]}}}')
    async for _ in connection:
        pass


async def echo(connection):
    """Send back what comes."""
    async for message in connection:
        await connection.send(message)


async def acknowledge(connection):
    """Acknowledge each sample, whose number is its last member."""
    while True:
        message = await connection.recv(decode=False)
        await connection.send(b'{"ack":%s}' % message[message.rindex(b":") + 1 : -1])


async def answer(connection):
    """Answer as an ML service without analysis does, a read's requests in one write."""

    def take(messages):
        results = [text_frame(message[:-1] + RESULT_TAIL) for message in messages]
        connection.transport.write(b"".join(results))

    await connection.deliver(take)


SERVERS = {"receive": receive, "echo": echo, "acknowledge": acknowledge, "answer": answer}


async def serve_floor(handler):
    """Serve a floor until killed."""

    async def handle(connection):
        with contextlib.suppress(ConnectionClosed):
            await handler(connection)

    def select(_, offered):
        return offered[0] if offered else None

    kind = BoundedConnection if handler is answer else None  # the others are the library's own
    async with serve(
        handle, "127.0.0.1", 0, compression=None, select_subprotocol=select, create_connection=kind
    ) as server:
        port = server.sockets[0].getsockname()[1]
        print(json.dumps(f"http://127.0.0.1:{port}"), flush=True)
        await asyncio.Event().wait()


# --- loads ---------------------------------------------------------------------------------------


def sample_text(sensor_id, seq, second, *, numbered=True):
    """Return one sample."""
    data = {"BPMChild": 120 + seq % 160 / 4, "uterus": seq % 100 / 2, "spasms": 0.0}
    message = {"sensorID": sensor_id, "secFromStart": second, "data": data}
    if numbered:
        message["seq"] = seq
    return json.dumps(message, separators=(",", ":")).encode()


class Client(asyncio.Protocol):
    """A WebSocket that costs next to nothing: texts in, bytes out."""

    def __init__(self, on_text=None):
        self.open = asyncio.get_running_loop().create_future()
        self._on_text, self._buffer = on_text, b""

    def connection_made(self, transport):  # noqa: D102
        self.transport = transport

    def data_received(self, data):  # noqa: D102
        if self._buffer:
            data = self._buffer + data
        if not self.open.done():
            head, ended, data = data.partition(b"\r\n\r\n")
            if not ended:
                self._buffer = head
                return
            assert b" 101 " in head, head
            self.open.set_result(None)
        self._buffer = data[self._read(data) :]

    def _read(self, data):
        """Handle the complete frames; return where the rest begins."""
        at = 0
        while len(data) >= at + 4:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            if len(data) < start + length:
                break
            if data[at] == 0x89:  # a ping
                self.transport.write(
                    bytes((0x8A, 0x80 | length, 0, 0, 0, 0)) + data[start : start + length]
                )
            elif self._on_text and data[at] == 0x81:
                self._on_text(data[start : start + length])
            at = start + length
        return at


class Viewer(Client):
    """One that only notes when what came: it is read when everything is over."""

    def __init__(self):
        super().__init__(self._note)
        self.came, self.texts = [], []

    def data_received(self, data):  # noqa: D102
        if self.open.done():
            self.came.append((time.perf_counter(), data))
        else:
            super().data_received(data)

    def read(self):
        """Return the texts that came, each after its time."""
        for at, data in self.came:
            self._at = at
            super().data_received(data)
        return self.texts

    def _note(self, text):
        self.texts.append((self._at, text))

    async def until_quiet(self):
        """Wait until nothing has come for a second, ten at most."""
        came, until_s = -1, time.perf_counter() + 10
        while came != len(self.came) and time.perf_counter() < until_s:
            came = len(self.came)
            await asyncio.sleep(1)


def upgrade(path, token, acks):
    """Return the request for a WebSocket."""
    speaks = "Sec-WebSocket-Protocol: ctgkit.v1\r\n" if acks else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
        f"{speaks}X-Auth-Sensor-Token: {token}\r\n\r\n".encode()
    )


def address(url):
    """Return host and port."""
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


async def connect(url, path, token="", acks=False, on_text=None, kind=Client):
    """Open a WebSocket; return it."""
    loop = asyncio.get_running_loop()
    client = kind() if on_text is None else kind(on_text)
    await loop.create_connection(lambda: client, *address(url))
    client.transport.write(upgrade(path, token, acks))
    await client.open
    return client


def write_now(client, place, frame):
    """Write a frame: past the transport, which would wait for the loop, unless the peer is slow."""
    written = 0
    if not client.transport.get_write_buffer_size():
        with contextlib.suppress(BlockingIOError):
            written = os.write(place, frame)
    if written < len(frame):
        client.transport.write(frame[written:])


async def told():
    """Say that everything is prepared and wait for the word."""
    print(json.dumps("ready"), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def flood(url, credentials, samples, first):
    """Send every sensor's samples as fast as they are taken; print the seconds to the last ack."""
    last = first + samples - 1
    wanted = f'{{"ack":{last}}}'.encode()
    sensors = []
    for sensor_id, token in credentials:
        frames = b"".join(
            masked_text_frame(sample_text(sensor_id, first + n, n / RATE_HZ))
            for n in range(samples)
        )
        path = f"/ws/sensor?sensor_id={sensor_id}&samples={samples}&last={last}"
        reader, writer = await asyncio.open_connection(*address(url))
        writer.write(upgrade(path, token, acks=True))
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        sensors.append((reader, writer, frames))

    async def write(writer, frames):
        for start in range(0, len(frames), WRITE_BYTES):
            writer.write(frames[start : start + WRITE_BYTES])
            await writer.drain()

    async def read(reader):
        tail = b""
        while wanted not in tail:
            tail = tail[-len(wanted) :] + await reader.read(WRITE_BYTES)

    await told()
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for reader, writer, frames in sensors:
            tasks.create_task(write(writer, frames))
            tasks.create_task(read(reader))
    print(json.dumps(time.perf_counter() - started), flush=True)


async def pace(url, credentials, seconds, first, watch, acks=True):
    """Send a sample per sensor every 250 ms, evenly spread; print what came back and when.

    Without *acks* the sensors speak the specification's protocol, which has none.

    *watch*: the path of a viewer, ``"echo"`` when each sensor gets its own samples back, or ``""``.
    """
    total, sensors = int(seconds * RATE_HZ) * len(credentials), len(credentials)
    place = {sensor_id: n for n, (sensor_id, _) in enumerate(credentials)}
    sent, arrived = [0.0] * total, {}

    def note(text, at=None):
        head = decode_result_head(text)
        k = int((head.sec_from_start or 0.0) * RATE_HZ) * sensors + place[head.sensor_id]
        arrived.setdefault(k, at or time.perf_counter())

    clients = []
    for start in range(0, sensors, CONNECTS_AT_ONCE):
        clients += await asyncio.gather(
            *(
                connect(
                    url, f"/ws/sensor?sensor_id={i}", token, acks, note if watch == "echo" else None
                )
                for i, token in credentials[start : start + CONNECTS_AT_ONCE]
            )
        )
    viewer = await connect(url, watch, kind=Viewer) if watch.startswith("/") else None
    places = [client.transport.get_extra_info("socket").fileno() for client in clients]
    frames = []
    for n in range(total // sensors):
        for sensor_id, _ in credentials:
            text = sample_text(sensor_id, first + n, n / RATE_HZ, numbered=acks)
            frames.append(masked_text_frame(text))
    await told()
    started, k, apart_s = time.perf_counter(), 0, 1 / (RATE_HZ * sensors)
    while k < total:
        due = min(total, int((time.perf_counter() - started) / apart_s) + 1)
        for n in range(k, due):
            sent[n] = time.perf_counter()
            write_now(clients[n % sensors], places[n % sensors], frames[n])
        k = due
        await asyncio.sleep(max(0.001, started + k * apart_s - time.perf_counter()))
    if viewer is not None:
        await viewer.until_quiet()
        for at, text in viewer.read():
            note(text, at)
    elif watch:
        waited_until = time.perf_counter() + 10
        while len(arrived) < total and time.perf_counter() < waited_until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    took_ms = sorted(1e3 * (at - sent[k]) for k, at in arrived.items())
    quantiles = {
        name: took_ms[int(share * len(took_ms))] if took_ms else 0.0
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    }
    print(json.dumps({"sent": total, "lost": total - len(arrived), **quantiles}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def drink(url, path, count):
    """Open viewers that read and forget."""
    for _ in range(count):
        await connect(url, path)
    print(json.dumps("ready"), flush=True)
    await asyncio.Event().wait()


LOADS = {"flood": flood, "pace": pace, "drink": drink}


# --- the other side ------------------------------------------------------------------------------


class Role:
    """One of the processes above; ends with its context."""

    def __init__(self, role, **arguments):
        command = [sys.executable, "-m", "benchmarks.load", role]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        self._process.stdin.write(json.dumps(arguments))
        self.go()
        self.first = self.heard()
        """What it printed first: its URL, or that it is ready."""

    def heard(self):
        """Return the next thing it says."""
        line = self._process.stdout.readline()
        assert line, "a benchmark's process died"
        return json.loads(line)

    def go(self):
        """Let it begin, or end."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    role, arguments = sys.argv[1], json.loads(sys.stdin.readline())
    run(serve_floor(SERVERS[role]) if role in SERVERS else LOADS[role](**arguments))
