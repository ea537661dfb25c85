"""The naive backend's side of the ML service."""

import asyncio
import json
import time
from collections import deque
from contextlib import suppress
from urllib.parse import urlsplit

from tests.check.naive.sockets import Closed, dial

SILENT_S = 2.0
STAMP = "2026-01-01T00:00:00Z"


class Link:
    """One connection for all sensors; a sample without answer is shown with status error."""

    def __init__(self, backend):
        self.backend, self.bug = backend, backend.bug
        url = urlsplit(backend.config.get("ml") or "ws://127.0.0.1:9/ws/ctg")
        self.address = url.hostname, url.port
        self.path = "/ml" if self.bug == "dials another path" else url.path
        self.socket, self.more = None, {}
        self.outbox, self.wake, self.owed = deque(), asyncio.Event(), {}

    @property
    def up(self):
        return self.socket is not None

    async def offer(self, own, sec, fhr, uterus, spasms):
        if fhr is None and self.bug == "sends 0 for no signal":
            fhr = 0
        data = {"BPMChild": fhr, "uterus": uterus, "spasms": spasms}
        text = json.dumps({"sensorID": own, "secFromStart": sec, "data": data})
        if self.socket is None:
            await self.unanswered(text)
            return
        if self.bug in ("a hung ML service stops everything", "naive"):
            self.owed[own, sec] = text, time.monotonic()
            with suppress(Closed):
                await self.socket.send(text)
            return
        if self.bug == "a connection per sensor" and own not in self.more:
            self.more[own] = await dial(*self.address, self.path)
        self.outbox.append((own, text))
        self.wake.set()

    async def run(self):
        while True:
            linked = False
            try:
                self.socket = await dial(*self.address, self.path)
                linked = True
                helpers = [self.backend.spawn(w) for w in (self.send(self.socket), self.watch())]
                try:
                    while True:
                        await self.result(await self.socket.recv())
                finally:
                    for helper in helpers:
                        helper.cancel()
            except (OSError, Closed):
                pass
            if self.socket is not None:
                self.socket.writer.close()
            self.socket, self.more = None, {}
            self.outbox.clear()
            await self.give_up()
            if self.bug == "never redials" and linked:
                return
            if self.bug == "redials once" and not linked and self.tried:
                return
            self.tried = linked or getattr(self, "tried", False)
            await asyncio.sleep(0 if self.bug == "redials at once" else 0.15)

    tried, burst, result_at_s = False, 0, 0.0

    async def send(self, socket):
        with suppress(Closed):
            while True:
                await self.wake.wait()
                self.wake.clear()
                while self.outbox:
                    own, text = self.outbox.popleft()
                    self.owed[own, json.loads(text)["secFromStart"]] = text, time.monotonic()
                    await self.more.get(own, socket).send(text)

    async def watch(self):
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            for key in [k for k, (_, at) in self.owed.items() if now - at > SILENT_S - 0.2]:
                await self.unanswered(self.owed.pop(key)[0])

    async def give_up(self):
        while self.owed:
            await self.unanswered(self.owed.pop(next(iter(self.owed)))[0])

    async def result(self, text):
        """Check a result, and relay it as it came."""
        found = self.problem(text)
        if found == "error" and self.owed:
            await self.unanswered(self.owed.pop(next(iter(self.owed)))[0])
        if found == "":
            message = json.loads(text)
            key = (message["sensorID"], message["secFromStart"])
            late = key not in self.owed
            self.owed.pop(key, None)
            if message["prediction"]:
                self.backend.predicted[message["sensorID"]] = text
            if self.bug == "rewrites results":
                text = json.dumps(message)
            if late and self.bug == "drops late results":
                return
            now_s = time.monotonic()
            self.burst = self.burst + 1 if now_s - self.result_at_s < 0.005 else 0
            self.result_at_s = now_s
            if self.bug == "loses a result in a burst" and self.burst == 10:
                return
        if found and self.bug == "hangs up on garbage":
            raise Closed
        if (
            found == ""
            or self.bug == "relays garbage"
            or (found == "type" and self.bug == "relays wrong types")
            or (found == "stranger" and self.bug == "relays results of strangers")
        ):
            await self.backend.publish(text)

    def problem(self, text):
        try:
            message = json.loads(text)
        except ValueError:
            return "json"
        if not isinstance(message, dict):
            return "json"
        if not isinstance(message.get("sensorID"), str):
            return "error" if message.get("status") == "error" else "id"
        if message["sensorID"].lower() not in self.backend.tokens:
            return "stranger"
        types = (("secFromStart", (int, float)), ("data", dict), ("status", str))
        if not all(isinstance(message.get(name), kind) for name, kind in types):
            return "type"
        return "" if isinstance(message.get("prediction"), dict | None) else "type"

    async def unanswered(self, text):
        if self.bug == "shows nothing without the ML service":
            return
        rest = {"prediction": None, "status": "error", "timestamp": STAMP}
        if self.bug == "says ok without a result":
            rest["status"] = "ok"
        await self.backend.publish(json.dumps(json.loads(text) | rest))
