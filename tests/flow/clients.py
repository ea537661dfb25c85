"""Peers with nothing of CTGKit's own in them: a sensor, a viewer, an ML service."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake

PLAIN = {"compression": None, "proxy": None, "close_timeout": 1}


def dial_sensor(url, entry, *, numbered=True, token=None, **options):
    """Open a sensor's connection."""
    return connect(
        url.replace("http", "ws", 1) + f"/ws/sensor?sensor_id={entry.id}",
        additional_headers={"X-Auth-Sensor-Token": token or entry.token},
        subprotocols=["ctgkit.v1"] if numbered else None,
        **PLAIN | options,
    )


def values(seq):
    """Return the heart rate (None: no signal) and the toco that go with a number."""
    return (None if seq % 7 == 0 else 120 + seq % 160 / 4), seq % 100 / 2


def sample(seq, **more):
    """Return a numbered sample as it travels."""
    bpm, uterus = values(seq)
    data = {"BPMChild": bpm, "uterus": uterus, "spasms": 0.0}
    return json.dumps({"secFromStart": seq / 4, "data": data, "seq": seq} | more)


class RawSensor:
    """Numbers its samples, sends again what was not acknowledged, and knows what was."""

    def __init__(self, entry, *, first=1_000, window=30, batch=1, pause_s=0.0):
        self.entry = entry
        self.first = self.next = first
        self.acked = first - 1
        """Everything up to this number is acknowledged."""
        self.connects = 0
        self.close_codes = []
        self.stop = asyncio.Event()
        """Set it to produce nothing more and return when all is acknowledged."""
        self._window, self._batch, self._pause_s = window, batch, pause_s

    async def play(self, url):
        """Connect, send, and connect again."""
        while not (self.stop.is_set() and self.acked == self.next - 1):
            try:
                async with dial_sensor(url, self.entry) as connection:
                    self.connects += 1
                    await self._converse(connection)
            except ConnectionClosed as closed:
                self.close_codes.append(closed.rcvd.code if closed.rcvd else 1006)
            except (OSError, InvalidHandshake, EOFError):
                await asyncio.sleep(0.02)

    async def _converse(self, connection):
        seq = self.acked + 1
        while True:
            last = self.acked + self._window
            if self.stop.is_set():
                last = min(last, self.next - 1)
            while seq <= last:
                group = range(seq, min(seq + self._batch, last + 1))
                texts = [sample(n) for n in group]
                await connection.send(texts[0] if len(texts) == 1 else f"[{','.join(texts)}]")
                seq = group.stop
                self.next = max(self.next, seq)
            if self.stop.is_set() and self.acked == self.next - 1:
                return
            reply = json.loads(await connection.recv())
            assert reply.keys() == {"ack"}, reply
            assert reply["ack"] < seq
            self.acked = max(self.acked, reply["ack"])
            await asyncio.sleep(self._pause_s)

    def assert_stored(self, system, database=None):
        """Assert that what was acknowledged is in the database with the values sent."""
        rows = system.query(
            "SELECT seq, sec_from_start, bpm, uterus, spasms FROM ctg WHERE uuid = ? ORDER BY id",
            self.entry.id,
            database=database,
        )
        assert [r[0] for r in rows] == sorted({r[0] for r in rows})
        stored = {r[0]: r[1:] for r in rows}
        for seq in range(self.first, self.acked + 1):
            assert stored.pop(seq) == (seq / 4, *values(seq), 0.0)
        assert all(self.acked < seq < self.next for seq in stored)


class Viewer:
    """Reads what the original frontend reads, and remembers it."""

    def __init__(self):
        self.seen = []
        self.close_codes = []
        self.connected = asyncio.Event()

    async def watch(self, url, path="/ws"):
        """Read until the connection ends."""
        async with connect(url.replace("http", "ws", 1) + path, **PLAIN) as connection:
            self.connected.set()
            with contextlib.suppress(ConnectionClosed):
                async for text in connection:
                    assert isinstance(text, str)
                    self.seen.append(json.loads(text))
        self.close_codes.append(connection.close_code)

    async def watch_for_ever(self, url, path="/ws"):
        """Read, and connect again when the connection is lost."""
        while True:
            with contextlib.suppress(OSError, InvalidHandshake, EOFError):
                await self.watch(url, path)
            await asyncio.sleep(0.02)

    def points(self, sensor_id=None):
        """Return (seconds, heart rate, uterus, spasms) of what the original frontend draws."""
        return [
            (m["secFromStart"], m["data"]["BPMChild"], m["data"]["uterus"], m["data"]["spasms"])
            for m in self.seen
            if m.get("data")
            and isinstance(m["data"].get("BPMChild"), int | float)
            and sensor_id in (None, m["sensorID"])
        ]

    def seconds(self, status=None):
        """Return the data time of each message, in order of arrival."""
        return [m["secFromStart"] for m in self.seen if status in (None, m["status"])]


@contextlib.asynccontextmanager
async def watching(url, path="/ws"):
    """Run a viewer beside the block, connected from its start."""
    viewer = Viewer()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(viewer.watch(url, path))
        await viewer.connected.wait()
        try:
            yield viewer
        finally:
            task.cancel()


class FlatMl:
    """The original ML service as the backend meets it: flat requests only, naive timestamps.

    Like it, this one answers every message, in order, and says no more to a nested request than
    that it could not process it.
    """

    REQUIRED = ("sensorID", "secFromStart", "BPMChild", "uterus")

    def __init__(self):
        self.requests = []
        self.answering = True
        self.extra = []
        """Texts sent, once each, before the next answer."""

    def answer(self, text):
        now = datetime.now(UTC).replace(tzinfo=None).isoformat()
        try:
            asked = json.loads(text)
        except ValueError as error:
            return {"status": "error", "message": f"Invalid JSON format: {error}", "timestamp": now}
        self.requests.append(asked)
        try:
            sensor_id, second, bpm, uterus = (asked[key] for key in self.REQUIRED)
            if not all(isinstance(value, int | float) for value in (second, bpm, uterus)):
                raise TypeError("a number is required")
        except (KeyError, TypeError) as error:
            message = f"Processing error: {error!r}"
            return {"status": "error", "message": message, "timestamp": now}
        return {
            "sensorID": sensor_id,
            "secFromStart": second,
            "data": {"BPMChild": bpm, "uterus": uterus, "spasms": asked.get("spasms", 0.0)},
            "prediction": None,
            "status": "ok",
            "timestamp": now,
        }

    async def handle(self, connection):
        assert connection.request.path == "/ws/ctg"
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                assert isinstance(text, str)
                while self.extra:
                    await connection.send(self.extra.pop(0))
                if self.answering:
                    await connection.send(json.dumps(self.answer(text)))

    @contextlib.asynccontextmanager
    async def running(self):
        """Serve; yield the URL."""
        async with serve(
            self.handle, "127.0.0.1", 0, compression=None, close_timeout=0.2
        ) as server:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/ctg"
