"""A small backend that keeps PROTOCOL.md, and the ways in which it can be told to break it.

It shares nothing with ``ctgkit.server`` but the protocol. Each bug is one word; where the word
stands in the code below is the whole planted mistake.
"""

import asyncio
import json
import math
import sqlite3
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake

TOKENS = {f"0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d{n:02x}": f"token-{n}" for n in range(2)}
NAMES = {n.lower(): n for n in ("sensorID", "secFromStart", "data", "seq", "BPMChild", "uterus")}
SILENT_S = 2.0
STAMP = "2026-01-01T00:00:00Z"


def fold(item, bug):
    """Spell keys as specified."""
    if bug == "case-sensitive keys" or not isinstance(item, dict):
        return item
    folded = {NAMES.get(k.lower(), k): v for k, v in item.items()}
    return {k: fold(v, bug) if k == "data" else v for k, v in folded.items()}


def read(item, own, bug):
    """Return (sec, fhr, uterus, spasms, seq) of a valid sample, None otherwise."""
    item = fold(item, bug)
    data = item.get("data") if isinstance(item, dict) else None
    if not isinstance(data, dict) or (item.get("sensorID") or own) not in (own, own.upper()):
        return None
    values = (item.get("secFromStart"), *(data.get(k) for k in ("BPMChild", "uterus", "spasms")))
    limits = ((0, 31_622_400), (20, 300), (-50, 300), (-50, 300))
    for n, (value, (low, high)) in enumerate(zip(values, limits, strict=True)):
        if value is None or (n == 1 and type(value) in (int, float) and value == 0):
            if n == 0:
                return None
        elif type(value) not in (int, float):
            return None
        elif bug == "accepts NaN" and n and not math.isfinite(value):
            continue
        elif not low <= value <= high:
            return None
    seq = item.get("seq")
    if seq is not None and not (type(seq) is int and 0 <= seq < 2**63):
        return None
    return values[0], values[1] or None, *values[2:], seq


class SmallBackend:
    """The backend, with at most one bug."""

    def __init__(self, path, ml_url, bug=""):
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript(
            "CREATE TABLE examinations (id INTEGER PRIMARY KEY, start_time, end_time);"
            "CREATE TABLE ctg (id INTEGER PRIMARY KEY, examination_id, sec_from_start, uuid,"
            " bpm, uterus, spasms, seq);"
            "PRAGMA synchronous = OFF"
        )
        self.ml_url, self.bug, self.tasks = ml_url, bug, None
        self.sensors, self.attending, self.viewers = {}, set(), {}
        self.exam, self.link, self.stalled = None, None, False
        self.outbox, self.wake, self.owed = deque(), asyncio.Event(), {}
        self.stored, self.past, self.predicted, self.newest = {}, [], {}, {}

    # The door

    def route(self, connection, request):
        """Answer HTTP; None lets a WebSocket in."""
        url, headers = urlsplit(request.path), request.headers
        host = urlsplit("//" + headers["Host"]).hostname
        origin = urlsplit(headers.get("Origin", "http://localhost"))
        local = ("localhost", "127.0.0.1")
        if host not in local:
            return connection.respond(403, "host\n")
        if origin.hostname not in local and self.bug != "lets every origin in":
            return connection.respond(403, "origin\n")
        if request.method != "GET":
            response = connection.respond(405, "method\n")
            response.headers["Allow"] = "GET"
            return response
        if url.path == "/ws/sensor":
            return self.admit(connection, headers, parse_qs(url.query))
        if url.path in ("/ws", "/ws/"):
            return None
        ok = self.link is not None or self.bug == "always says ok"
        pages = {
            "/api/health": json.dumps(
                {"status": "ok" if ok else "degraded", "service": "small", "timestamp": STAMP}
            ),
            "/livez": "ok",
            "/readyz": "ok",
            "/metrics": "# TYPE up gauge\nup 1\n",
        }
        known = url.path in pages
        return connection.respond(200 if known else 404, pages.get(url.path, "no such page\n"))

    def admit(self, connection, headers, query):
        own = query.get("sensor_id", [""])[0].lower()
        token = headers.get("X-Auth-Sensor-Token", "")
        if self.bug == "takes a token from the URL":
            token = token or query.get("token", [""])[0]
        if not own:
            return connection.respond(400, "sensor_id\n")
        if own not in TOKENS and self.bug == "tells who is known":
            return connection.respond(403, "unknown\n")
        if own not in TOKENS or (token != TOKENS[own] and self.bug != "forgets the token"):
            return connection.respond(401, "unknown or wrong\n")
        if self.bug == "refuses a second connection" and own in self.sensors:
            return connection.respond(409, "connected already\n")
        if headers.get("Upgrade") is None:
            return connection.respond(426, "upgrade\n")
        return None

    async def handle(self, connection):
        url = urlsplit(connection.request.path)
        with suppress(ConnectionClosed):
            if url.path == "/ws/sensor":
                await self.serve_sensor(connection, parse_qs(url.query)["sensor_id"][0].lower())
            else:
                await self.serve_viewer(connection, parse_qs(url.query))

    # Sensors

    async def serve_sensor(self, connection, own):
        if older := self.sensors.get(own):
            self.tasks.create_task(older.close(4409))
        self.sensors[own] = connection
        self.attending.add(connection)
        if self.exam is None:
            self.exam = self.db.execute(
                "INSERT INTO examinations (start_time) VALUES (1)"
            ).lastrowid
            self.past = []
        bad = 0
        try:
            async for frame in connection:
                bad = 0 if await self.take(connection, own, frame) else bad + 1
                if bad >= 100 and self.bug != "endures any rubbish":
                    await connection.close(1008)
                if self.bug == "writes to every sensor":
                    await connection.send("ok")
        finally:
            self.attending.discard(connection)
            if self.sensors.get(own) is connection:
                del self.sensors[own]
            if not self.attending and self.bug != "never closes examinations":
                self.db.execute("UPDATE examinations SET end_time = 2 WHERE id = ?", (self.exam,))
                self.exam = None

    async def take(self, connection, own, frame):
        """Take one frame; return whether any of it was good."""
        try:
            items = json.loads(frame)
        except (ValueError, RecursionError):
            if self.bug == "dies on invalid JSON":
                raise
            items = None
        items = items if isinstance(items, list) else [items]
        numbered, good, last = connection.subprotocol is not None, 0, None
        read_all = [read(item, own, self.bug) for item in items]
        if self.bug == "rejects whole arrays" and None in read_all:
            read_all = [None]
        for item, sample in zip(items, read_all, strict=False):
            if sample is None or (numbered and sample[-1] is None):
                if numbered:
                    seq = item.get("seq") if isinstance(item, dict) else None
                    seq = {"seq": seq} if isinstance(seq, int) else {}
                    await connection.send(json.dumps({"error": "bad"} | seq))
                continue
            good += 1
            last = sample[-1] if numbered else None
            self.keep(own, *sample[:-1], last)
        if last is not None:
            await connection.send(json.dumps({"ack": last}))
        return good

    def keep(self, own, sec, fhr, uterus, spasms, seq):
        """Store a sample and pass it on, unless it was here before."""
        if self.bug == "drops what goes back in time" and sec < self.newest.get(own, 0):
            return
        self.newest[own] = sec
        again = seq is not None and seq <= self.stored.get(own, -1)
        if seq is not None:
            self.stored[own] = max(seq, self.stored.get(own, -1))
        if not again or self.bug == "stores resent samples again":
            shown = 0 if fhr is None and self.bug == "stores 0 for no signal" else fhr
            owner = next(iter(self.sensors)) if self.bug == "mixes sensors" else own
            row = (self.exam, sec, owner, shown, uterus, spasms, seq)
            if self.bug == "acknowledges too early" and seq is not None:
                asyncio.get_running_loop().call_later(0.1, self.insert, row)
            elif self.link is not None or self.bug != "loses data while the ML service is down":
                self.insert(row)
            if self.bug == "stores twice" and seq is None:
                self.insert(row)
            self.past.append((own, sec, fhr, uterus, spasms))
        if again and self.bug != "sends resent samples to the ML service":
            return
        data = {"BPMChild": fhr, "uterus": uterus, "spasms": spasms}
        text = json.dumps({"sensorID": own, "secFromStart": sec, "data": data})
        if self.link is None or self.stalled:
            self.unanswered(text)
        if self.link is not None:
            self.outbox.append(text)
            self.wake.set()

    def insert(self, row):
        self.db.execute(
            "INSERT INTO ctg (examination_id, sec_from_start, uuid, bpm, uterus, spasms, seq)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            row,
        )

    # The ML service

    async def run_link(self):
        while True:
            linked = False
            with suppress(OSError, InvalidHandshake, ConnectionClosed):
                async with connect(self.ml_url, compression=None, proxy=None) as self.link:
                    linked = True
                    sender = self.tasks.create_task(self.send(self.link))
                    watcher = self.tasks.create_task(self.watch())
                    try:
                        async for text in self.link:
                            self.result(text)
                    finally:
                        sender.cancel()
                        watcher.cancel()
            self.link, self.stalled = None, False
            for text in [text for text, _ in self.owed.values()]:
                self.unanswered(text)
            self.owed.clear()
            self.outbox.clear()
            if self.bug == "never redials" and linked:
                return
            await asyncio.sleep(0.1)

    async def send(self, link):
        with suppress(ConnectionClosed):
            while True:
                await self.wake.wait()
                self.wake.clear()
                while self.outbox:
                    text = self.outbox.popleft()
                    if not self.stalled:
                        body = json.loads(text)
                        self.owed[body["sensorID"], body["secFromStart"]] = text, time.monotonic()
                    await link.send(text)

    async def watch(self):
        while True:
            await asyncio.sleep(0.1)
            late = [t for t, at in self.owed.values() if time.monotonic() - at > SILENT_S]
            if late:
                self.stalled = True
                for text, _ in self.owed.values():
                    self.unanswered(text)
                self.owed.clear()

    def result(self, text):
        self.stalled = False
        try:
            body = json.loads(text)
            types = (("sensorID", str), ("secFromStart", (int, float)), ("data", dict))
            good = all(isinstance(body[name], kind) for name, kind in types)
            good = good and isinstance(body["status"], str) and body["sensorID"] in TOKENS
            good = good and isinstance(body["prediction"], dict | None)
        except (ValueError, TypeError, KeyError):
            good = False
        if self.owed and not good and '"status": "error"' in str(text):
            oldest = next(iter(self.owed))
            self.unanswered(self.owed.pop(oldest)[0])
        if good:
            self.owed.pop((body["sensorID"], body["secFromStart"]), None)
            if body["prediction"]:
                self.predicted[body["sensorID"]] = text
            if self.bug == "rewrites results":
                text = json.dumps(body)
        if good or self.bug == "relays garbage":
            self.publish(text)

    def unanswered(self, text):
        if self.bug != "shows nothing without the ML service":
            rest = {"prediction": None, "status": "error", "timestamp": STAMP}
            self.publish(json.dumps(json.loads(text) | rest))

    # Viewers

    def publish(self, text):
        viewers = list(self.viewers.items())
        if self.bug == "knows two viewers at most":
            viewers = viewers[:2]
        if self.bug == "waits for slow viewers" and any(len(q) >= 256 for _, (q, _) in viewers):
            return
        for connection, (queue, wake) in viewers:
            if len(queue) >= 256:
                del self.viewers[connection]
                self.tasks.create_task(self.evict(connection))
            else:
                queue.append(text)
                wake.set()

    async def evict(self, connection):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await connection.close(1013)
        connection.transport.abort()

    async def serve_viewer(self, connection, query):
        queue, wake = deque(), asyncio.Event()
        backfill = float(query.get("backfill", ["0"])[0])
        since = self.past[-1][1] - backfill if self.past else 0
        if backfill and self.bug != "has no past":
            for own, sec, fhr, uterus, spasms in self.past:
                data = {"BPMChild": fhr, "uterus": uterus, "spasms": spasms}
                head = {"sensorID": own, "secFromStart": sec, "data": data}
                rest = {"prediction": None, "status": "ok", "timestamp": STAMP}
                if sec >= since:
                    await connection.send(json.dumps(head | rest))
            for text in self.predicted.values():
                await connection.send(text)
        self.viewers[connection] = queue, wake
        writer = self.tasks.create_task(self.write(connection, queue, wake))
        try:
            async for _ in connection:
                pass
        finally:
            self.viewers.pop(connection, None)
            writer.cancel()

    async def write(self, connection, queue, wake):
        with suppress(ConnectionClosed):
            while True:
                await wake.wait()
                wake.clear()
                while queue:
                    await connection.send(queue.popleft())


@asynccontextmanager
async def small_backend(path, ml_url, bug=""):
    """Run the backend on a free port and yield it with its port."""
    async with asyncio.TaskGroup() as tasks:
        backend = SmallBackend(path, ml_url, bug)
        backend.tasks = tasks
        link = tasks.create_task(backend.run_link())
        unlimited = bug == "takes frames of any size"
        async with serve(
            backend.handle,
            "127.0.0.1",
            0,
            process_request=backend.route,
            subprotocols=["ctgkit.v1"],
            select_subprotocol=lambda _, offered: "ctgkit.v1" if "ctgkit.v1" in offered else None,
            compression=None,
            max_size=None if unlimited else 16_384,
            open_timeout=2,
            close_timeout=0.5,
        ) as server:
            try:
                yield server.sockets[0].getsockname()[1]
            finally:
                link.cancel()
        backend.db.close()
