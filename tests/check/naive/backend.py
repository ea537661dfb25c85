"""A naive backend that keeps PROTOCOL.md, and the ways in which it can be told to break it.

It shares nothing with ctgkit, and no library with it. Each fault is one phrase; where the phrase
stands in these files is the whole planted mistake.
"""

import asyncio
import json
import re
import time
from collections import deque
from urllib.parse import parse_qs, urlsplit

from tests.check.naive.ml import Link
from tests.check.naive.samples import items_of, read
from tests.check.naive.sockets import Answer, Closed, Socket, get, serve
from tests.check.naive.store import HastyStore, Store

STAMP = "2026-01-01T00:00:00Z"
QUEUE = 256
STREAM = re.compile(r"[A-Za-z0-9._-]{1,64}")
PAGES = ("/api/health", "/livez", "/readyz", "/metrics")
LOCAL = ("localhost", "127.0.0.1")


def body(**members):
    return json.dumps(members) + "\n"


class Backend:
    """The backend, with at most one fault."""

    def __init__(self, config, bug=""):
        self.bug, self.config = bug, config
        self.tokens = config["tokens"]
        hasty = bug in ("hasty store", "naive")
        self.store = (
            HastyStore(config["store"])
            if hasty
            else Store(config["store"], config.get("sync", "OFF"))
        )
        if bug != "leaves interrupted examinations open":
            self.store.end_all()
        self.tasks = set()
        self.sensors, self.attending, self.viewers = {}, {}, {}
        self.exams, self.held = {}, []
        self.past, self.predicted, self.newest = [], {}, {}
        self.gone, self.last_seen, self.controls_on = 0, {}, []
        self.stopping = False
        self.restarted, self.in_a_row, self.numbers, self.promised = {}, 0, {}, set()
        self.link = Link(self)

    def spawn(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # The door

    async def route(self, request):
        """Answer HTTP, or return what serves a WebSocket."""
        url, headers = urlsplit(request.target), request.headers
        if refusal := self.refusal(request, url):
            return refusal
        if request.method != "GET" and not (request.method == "HEAD" and url.path in PAGES):
            allow = () if self.bug == "405 without Allow" else (("Allow", "GET"),)
            return Answer(405, "method\n", allow)
        if not self.knows(url.path):
            return Answer(404, "no such page\n")
        if url.path == "/ws/sensor" or (url.path == "/ws/sensor/" and self.bug == "takes a slash"):
            return self.admit(headers, parse_qs(url.query))
        if url.path in ("/ws", "/ws/"):
            if len(self.sensors) + len(self.viewers) >= self.limit():
                return Answer(503, "full\n")
            backfill = float(parse_qs(url.query).get("backfill", ["0"])[0])

            async def watch(socket):
                await self.serve_viewer(socket, backfill)

            return watch, None
        return await self.page(url, headers)

    def knows(self, path):
        if path == "/ws/sensor/":
            return self.bug == "takes a slash"
        sockets = ("/ws", "/ws/", "/ws/sensor", "/api/sensors/start", "/api/sensors/stop")
        return path in (*sockets, *PAGES) or self.bug == "knows every page"

    def refusal(self, request, url):
        headers = request.headers
        origin = headers.get("origin", "http://localhost")
        if (
            urlsplit("//" + headers.get("host", "")).hostname not in LOCAL
            and self.bug != "lets every Host in"
        ):
            return Answer(403, "host\n")
        if urlsplit(origin).hostname not in LOCAL and self.bug != "lets every origin in":
            return Answer(403, "origin\n")
        return None

    def limit(self):
        return self.config.get("limit", 10_000) + (self.bug == "limit off by one")

    def admit(self, headers, query):
        own = query.get("sensor_id", [""])[0]
        if self.bug != "ids compare exactly":
            own = own.lower()
        token = headers.get("x-auth-sensor-token", "")
        if self.bug == "takes a token from the URL":
            token = token or query.get("token", [""])[0]
        if not own:
            return Answer(401 if self.bug == "401 without an id" else 400, "sensor_id\n")
        if own not in self.tokens and self.bug == "says who is known":
            return Answer(403, "unknown\n")
        right = own in self.tokens and token == self.tokens[own]
        if own in self.tokens and self.bug == "compares the token's beginning":
            right = bool(token) and self.tokens[own].startswith(token)
        if own not in self.tokens or (not right and self.bug != "forgets the token"):
            return Answer(401, "unknown or wrong\n")
        if self.bug == "refuses a second connection" and own in self.sensors:
            return Answer(409, "connected already\n")
        if "upgrade" not in headers:
            return Answer(400 if self.bug == "400 for no upgrade" else 426, "upgrade\n")
        offered = [p.strip() for p in headers.get("sec-websocket-protocol", "").split(",")]
        chosen = "ctgkit.v1" if "ctgkit.v1" in offered else None
        if self.bug == "chooses any subprotocol" and offered[0]:
            chosen = offered[0]

        stream = headers.get("x-sensor-stream", "")
        if not self.is_stream(stream):
            return Answer(400, "stream\n")

        async def sensor(socket):
            socket.stream = "" if self.bug == "knows no streams" else stream
            await self.serve_sensor(socket, own)

        return sensor, chosen

    def is_stream(self, name):
        return not name or self.bug == "takes any stream name" or bool(STREAM.fullmatch(name))

    async def page(self, url, headers):
        self.in_a_row = 0
        if url.path.startswith("/api/sensors/"):
            if headers.get("sec-fetch-site") == "cross-site" and self.bug != "obeys foreign pages":
                return Answer(403, body(error="foreign"))
            return await self.switch(url.path.rpartition("/")[2], parse_qs(url.query))
        ok = self.link.up or self.bug == "always says ok"
        health = {"status": "ok" if ok else "degraded", "service": "naive", "timestamp": STAMP}
        if self.bug == "health without status":
            del health["status"]
        pages = {"/api/health": body(**health), "/livez": "ok", "/readyz": "ok",
                 "/metrics": "# TYPE up gauge\nup 1\n"}  # fmt: skip
        if self.bug == "has no metrics":
            del pages["/metrics"]
        if url.path in pages or self.bug == "knows every page":
            return Answer(200, pages.get(url.path, "?"))
        return Answer(404, "no such page\n")

    async def switch(self, verb, query):
        """Start or stop sensors through their control addresses."""
        addresses = self.config.get("controls", {})
        if verb == "stop":
            if not self.controls_on and self.bug == "cannot stop nothing":
                return Answer(400, body(error="none runs"))
            offs = [get(addresses[s], "/api/off") for s in self.controls_on]
            self.controls_on = []
            if self.bug == "a hanging sensor holds up the others":
                for off in offs:
                    await off
            elif self.bug != "stops nobody":
                await asyncio.gather(*offs)
            else:
                [off.close() for off in offs]
            return Answer(200, body(message="stopped"))
        wanted = query.get("count", ["1"])[0]
        if not wanted.isdecimal() or wanted == "0":
            return Answer(400, body(error="count"))
        wanted = int(wanted)
        if self.bug == "ignores count":
            wanted = 1
        if self.bug == "starts all at once":
            wanted = len(addresses)
        started = []
        for sensor in [s for s in addresses if s not in self.controls_on][:wanted]:
            if (
                await get(addresses[sensor], "/api/on") != 200
                and self.bug != "believes every start"
            ):
                break
            self.controls_on.append(sensor)
            started.append({"uuid": sensor, "ip": addresses[sensor], "connected": True})
        if not started:
            status = 200 if self.bug == "200 when all run" else 400
            return Answer(status, body(error="all run, or it failed"))
        return Answer(200, body(message="started", sensor=started[-1]))

    # Sensors

    async def serve_sensor(self, socket, own):
        if (
            self.bug == "cannot serve two who come at once"
            and time.monotonic() - self.last_seen.get("any", 0) < 0.001
        ):
            return
        self.in_a_row += 1
        if self.bug == "refuses quick reconnects" and self.in_a_row > 40:
            return
        self.last_seen["any"] = time.monotonic()
        self.take_over(socket, own)
        bad = 0
        try:
            exam = await self.exam_of(own)
            while True:
                frame = await socket.recv()
                good = await self.take(socket, own, frame, exam)
                bad = 0 if good and self.bug != "counts bad frames for ever" else bad + (not good)
                if bad >= 100 and self.bug != "endures any rubbish":
                    await socket.close(1008)
                    return
                if self.bug == "writes to every sensor":
                    await socket.send("ok")
        finally:
            self.last_seen[own] = time.monotonic()
            self.numbers.pop(socket, None)
            await self.leave(socket, own)

    def take_over(self, socket, own):
        older = self.sensors.get(own)
        self.attending[socket] = own
        if older is not None and self.bug == "closes the newer connection":
            self.spawn(socket.close(4409))
            return
        if older is not None and self.bug != "keeps both connections":
            self.spawn(older.close(1000 if self.bug == "takes over with 1000" else 4409))
            if self.bug != "the older connection still counts":
                self.attending.pop(older, None)
        self.sensors[own] = socket

    async def exam_of(self, own):
        bed = own if self.bug == "an examination per sensor" else "bed"
        if self.exams.get(bed) is None or self.bug == "a new examination for everybody":
            if isinstance(self.store, HastyStore):
                self.exams[bed] = await asyncio.to_thread(self.store.open)
            else:
                self.exams[bed] = self.store.open()
            self.past = []
        return self.exams[bed]

    async def leave(self, socket, own):
        self.attending.pop(socket, None)
        if self.stopping and self.bug == "leaves examinations open":
            return
        if self.sensors.get(own) is socket:
            del self.sensors[own]
        bed = own if self.bug == "an examination per sensor" else "bed"
        left = (
            own in self.attending.values()
            if self.bug == "an examination per sensor"
            else self.attending
        )
        if self.bug == "ends with the first who leaves":
            left = False
        if self.bug == "the older connection ends the examination":
            left = any(o != own for o in self.attending.values())
        if not left and self.exams.get(bed) and self.bug != "never ends examinations":
            exam, self.exams[bed] = self.exams[bed], None
            if isinstance(self.store, HastyStore):
                await asyncio.to_thread(self.store.end, exam)
            else:
                self.store.end(exam)

    async def take(self, socket, own, frame, exam):
        """Take one frame; return how many samples of it were good."""
        items = items_of(frame, self.bug)
        numbered, good, last = socket.subprotocol is not None, 0, None
        used = self.numbers.setdefault(socket, {}) if numbered else {}
        samples = [read(item, own, self.tokens, self.bug) for item in items]
        if self.bug == "rejects whole arrays" and None in samples:
            samples = [None]
        for item, sample in zip(items, samples, strict=False):
            missing = (
                sample is not None
                and numbered
                and sample[-1] is None
                and self.bug != "needs no number"
            )
            if sample is None or missing or (numbered and self.is_other(socket, used, sample)):
                if numbered and self.bug != "rejects in silence":
                    seq = item.get("seq") if isinstance(item, dict) else None
                    seq = (
                        {"seq": seq}
                        if isinstance(seq, int) and self.bug != "rejects without number"
                        else {}
                    )
                    await socket.send(body(error="bad", **seq))
                continue
            good += 1
            last = sample[-1] if numbered else None
            await self.keep((*sample[:-1], last), exam, socket.stream)
        if last is not None and self.bug != "never acknowledges":
            if self.bug != "acknowledgements go down":
                last = used["last"] = max(last, used.get("last", -1))
            await socket.send(body(ack=last + (self.bug == "acknowledges one too many")))
        return good

    def is_other(self, socket, used, sample):
        """Whether its number belongs to another sample of the stream, or of this connection."""
        seq, values = sample[-1], sample[:-1]
        careless = ("drops a restarted sensor's data", "stores resent samples again")
        if seq is None or self.bug in (*careless, "acknowledges other values"):
            return False
        if socket.stream:
            known = [k[1:] for k in self.store.numbered(sample[0], seq) if k[0] == socket.stream]
            if known and (sample[1], sample[2]) not in known:
                return True
        return used.setdefault(seq, values) != values

    async def keep(self, sample, exam, stream):
        """Store a sample and pass it on, unless it was here before."""
        own, sec, fhr, uterus, spasms, seq = sample
        if self.bug == "drops what goes back in time" and sec < self.newest.get(own, 0):
            return
        self.newest[own] = sec
        again = seq is not None and any(
            k[1:] == (sec, fhr) and (not stream or k[0] == stream)
            for k in self.store.numbered(own, seq)
        )
        again = again or (own, seq, sec) in self.promised
        if self.bug == "acknowledges other values" and seq is not None:
            again = bool(self.store.numbered(own, seq))
        if self.bug == "drops a restarted sensor's data" and seq is not None:
            again = seq <= self.restarted.get(own, -1)
            self.restarted[own] = max(seq, self.restarted.get(own, -1))
        if not again or self.bug == "stores resent samples again":
            shown = 0 if fhr is None and self.bug == "stores 0 for no signal" else fhr
            owner = next(iter(self.sensors)) if self.bug == "mixes sensors" else own
            exam = None if self.bug == "rows without examination" else exam
            await self.write((exam, sec, owner, shown, uterus, spasms, seq, stream))
            if self.bug != "forgets the past at once":
                self.past.append((own, sec, fhr, uterus, spasms))
        if again and self.bug != "sends resent samples to the ML service":
            return
        await self.link.offer(own, sec, fhr, uterus, spasms)

    async def write(self, row):
        seq = row[-2]
        if self.bug == "acknowledges before it commits" and seq is not None:
            self.promised.add((row[2], seq, row[1]))
            asyncio.get_running_loop().call_later(0.1, self.store.insert, row)
        elif self.bug == "commits every 2 s" and seq is not None:
            self.held.append(row)
            if len(self.held) == 1:
                asyncio.get_running_loop().call_later(2.0, self.flush)
        elif isinstance(self.store, HastyStore):
            await asyncio.to_thread(self.store.insert, row)
        elif self.link.up or self.bug != "loses data while the ML service is down":
            self.store.insert(row)
            if self.bug == "stores twice" and seq is None:
                self.store.insert(row)

    def flush(self):
        for row in self.held:
            self.store.insert(row)
        self.held = []

    # Viewers

    async def publish(self, text):
        """Give a message to every viewer, in bytes as it came."""
        viewers = list(self.viewers.items())
        if self.bug == "knows two viewers at most":
            viewers = viewers[:2]
        if self.bug == "locks up when many viewers vanish" and self.gone > 120:
            return
        if self.bug in ("one slow viewer holds up all", "naive"):
            for socket, _ in viewers:
                await self.say(socket, text)
            return
        if self.bug == "stops while one is slow" and any(len(q) >= QUEUE for _, (q, _) in viewers):
            return
        for socket, (queue, wake) in viewers:
            if len(queue) < QUEUE:
                queue.append(text)
                wake.set()
            elif self.bug != "drops for slow viewers":
                del self.viewers[socket]
                self.spawn(self.evict(socket))

    async def say(self, socket, text):
        try:
            await (socket.send(text) if isinstance(text, str) else socket.send_bytes(text))
        except Closed:
            self.viewers.pop(socket, None)

    async def evict(self, socket):
        await socket.close(1013)
        socket.writer.transport.abort()

    async def serve_viewer(self, socket, backfill):
        queue, wake = deque(), asyncio.Event()
        if backfill and self.bug != "has no past":
            await self.tell_the_past(socket, backfill)
        self.viewers[socket] = queue, wake
        writer = self.spawn(self.write_to(socket, queue, wake))
        try:
            while True:
                await socket.recv()
                if self.bug == "a viewer may not speak":
                    await socket.close(1008)
        finally:
            self.viewers.pop(socket, None)
            self.gone += socket.code != 1000
            writer.cancel()

    async def tell_the_past(self, socket, backfill):
        since = self.past[-1][1] - backfill if self.past else 0
        if self.bug == "the past has no limit":
            since = 0
        predicted = list(self.predicted.values())
        if self.bug == "predictions before the past":
            for text in predicted:
                await socket.send(text)
        for own, sec, fhr, uterus, spasms in self.past:
            data = {"BPMChild": fhr, "uterus": uterus, "spasms": spasms}
            status = "error" if self.bug == "the past is an error" else "ok"
            if sec >= since:
                await socket.send(body(sensorID=own, secFromStart=sec, data=data, prediction=None,
                                       status=status, timestamp=STAMP))  # fmt: skip
        if self.bug != "predictions before the past":
            for text in predicted:
                await socket.send(text)

    async def write_to(self, socket, queue, wake):
        while True:
            await wake.wait()
            wake.clear()
            while queue:
                await self.say(socket, queue.popleft())

    # Life

    async def stop(self):
        """End as PROTOCOL C-1 asks."""
        self.stopping = True
        self.flush()
        for socket in [*self.attending, *self.viewers]:
            if self.bug != "hangs up without a word":
                await socket.close(1000 if self.bug == "stops with 1000" else 1001)
            socket.writer.transport.abort() if self.bug == "hangs up without a word" else None
        if self.bug != "leaves examinations open":
            self.store.end_all()
        await asyncio.sleep(0.05)


async def start(config, bug=""):
    """Start a backend; return it with its server."""
    backend = Backend(config, bug)
    limit = 1 << 30 if bug == "takes frames of any size" else 16_384

    def tweak(socket: Socket):
        socket.limits_messages = bug != "limits frames, not messages"

    server = await serve(
        config.get("host", "127.0.0.1"),
        config.get("port", 0),
        backend.route,
        limit=limit,
        tweak=tweak,
    )
    backend.spawn(backend.link.run())
    return backend, server
