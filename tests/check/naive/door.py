"""The naive backend's door: who is let in, its pages, and the sensors' switches."""

import asyncio
import json
import math
import re
from urllib.parse import parse_qs, urlsplit

from tests.check.naive.sockets import Answer, get

STAMP = "2026-01-01T00:00:00Z"
STREAM = re.compile(r"[A-Za-z0-9._-]{1,64}")
PAGES = ("/api/health", "/livez", "/readyz", "/metrics")
LOCAL = ("localhost", "127.0.0.1")


def body(**members):
    return json.dumps(members) + "\n"


def seconds(text):
    """Return a number of seconds, None when it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


class Door:
    """Part of the backend: requests."""

    async def route(self, request):
        """Answer HTTP, or return what serves a WebSocket."""
        url, headers = urlsplit(request.target), request.headers
        if refusal := self.refusal(request, url):
            return refusal
        heads = ("/api/sensors/start",) if self.bug == "HEAD switches" else ()
        allowed = request.method == "HEAD" and url.path in (*PAGES, *heads)
        if self.bug == "POST switches" and request.method == "POST":
            allowed = url.path.startswith("/api/sensors/")
        if request.method != "GET" and not allowed:
            allow = () if self.bug == "405 without Allow" else (("Allow", "GET"),)
            return Answer(405, "method\n", allow)
        if not self.knows(url.path):
            return Answer(404, "no such page\n")
        if url.path == "/ws/sensor" or (url.path == "/ws/sensor/" and self.bug == "takes a slash"):
            return self.admit(headers, parse_qs(url.query))
        if url.path in ("/ws", "/ws/") or url.path.startswith("/ws/"):
            if self.is_full():
                return Answer(503, "full\n")
            backfill = seconds(parse_qs(url.query).get("backfill", ["0"])[0])
            if backfill is None and self.bug != "takes any backfill":
                return Answer(400, "backfill\n")

            async def watch(socket):
                narrow = self.bug == "a narrowed viewer gets nothing" and "sensor=" in url.query
                await self.serve_viewer(socket, backfill, deaf=narrow)

            return watch, None
        return await self.page(url, headers)

    def knows(self, path):
        if path == "/ws/sensor/":
            return self.bug == "takes a slash"
        if self.bug == "knows what is below" and path.startswith(("/ws/", "/api/health/")):
            return True
        sockets = ("/ws", "/ws/", "/ws/sensor", "/api/sensors/start", "/api/sensors/stop")
        return path in (*sockets, *PAGES) or self.bug == "knows every page"

    def refusal(self, request, url):
        headers = request.headers
        origin = headers.get("origin", "http://localhost")
        if (
            not self.is_local(urlsplit("//" + headers.get("host", "")).hostname, "the Host")
            and self.bug != "lets every Host in"
        ):
            return Answer(403, "host\n")
        local = self.is_local(urlsplit(origin).hostname, "the origin")
        if not local and self.bug != "lets every origin in":
            return Answer(403, "origin\n")
        return None

    def is_local(self, name, where):
        if self.bug == f"looks for localhost in {where}" and "localhost" in (name or ""):
            return True
        return name in LOCAL

    def is_full(self):
        if self.bug == "limits sensors and viewers apart":
            return len(self.viewers) >= self.limit()
        return len(self.sensors) + len(self.viewers) >= self.limit()

    def limit(self):
        return self.config.get("limit", 10_000) + (self.bug == "limit off by one")

    def admit(self, headers, query):
        spelt = own = query.get("sensor_id", [""])[0]
        if self.bug != "ids compare exactly":
            own = own.lower()
        token = headers.get("x-auth-sensor-token", "")
        if self.bug == "takes a token from the URL":
            token = token or query.get("token", [""])[0]
        if not own:
            return Answer(401 if self.bug == "401 without an id" else 400, "sensor_id\n")
        if own not in self.tokens and self.bug == "says who is known":
            return Answer(403, "unknown\n")
        right = own in self.tokens and self.is_token(own, token)
        if own not in self.tokens or (not right and self.bug != "forgets the token"):
            return Answer(401, "unknown or wrong\n")
        if self.bug == "refuses a second connection" and own in self.sensors:
            return Answer(409, "connected already\n")
        if self.is_full() and (own not in self.sensors or self.bug == "counts a takeover twice"):
            return Answer(503, "full\n")
        if "upgrade" not in headers:
            return Answer(400 if self.bug == "400 for no upgrade" else 426, "upgrade\n")
        chosen = self.subprotocol(headers)
        stream = headers.get("x-sensor-stream", "")
        if not self.is_stream(stream):
            return Answer(400, "stream\n")

        async def sensor(socket):
            socket.spelt = spelt
            socket.stream = "" if self.bug == "knows no streams" else stream
            await self.serve_sensor(socket, own)

        return sensor, chosen

    def subprotocol(self, headers):
        offered = [p.strip() for p in headers.get("sec-websocket-protocol", "").split(",")]
        if self.bug == "chooses any subprotocol" and offered[0]:
            return offered[0]
        return "ctgkit.v1" if "ctgkit.v1" in offered else None

    def is_token(self, own, token):
        if self.bug == "compares the token's beginning":
            return bool(token) and self.tokens[own].startswith(token)
        if self.bug == "takes any sensor's token":
            return token in self.tokens.values()
        if self.bug == "tokens compare without case":
            return token.lower() == self.tokens[own].lower()
        return token == self.tokens[own]

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
            return await self.stop_sensors(addresses)
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
        named = dict(started[-1])
        if self.bug == "names another sensor":
            named["uuid"] = next(s for s in addresses if s != named["uuid"])
        named["connected"] = self.bug != "never says connected"
        return Answer(200, body(message="started", sensor=named))

    async def stop_sensors(self, addresses):
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
