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


def no_constant(name):
    raise ValueError(name)


class Link:
    """One connection for all sensors; a sample without answer is shown with status error."""

    def __init__(self, backend):
        self.backend, self.bug = backend, backend.bug
        url = urlsplit(backend.config.get("ml") or "ws://127.0.0.1:9/ws/ctg")
        self.address = url.hostname, url.port
        self.path = "/ml" if self.bug == "dials another path" else url.path
        self.socket, self.more = None, {}
        self.outbox, self.wake, self.owed = deque(), asyncio.Event(), []
        self.sent, self.heard_at_s = deque(maxlen=5), 0.0
        self.silent_s = 4.5 if self.bug == "gives up after 4.5 s" else SILENT_S - 0.2

    @property
    def up(self):
        return self.socket is not None

    async def offer(self, own, sec, fhr, uterus, spasms, seq=None, item=None):
        text = json.dumps(self.request(own, sec, fhr, uterus, spasms, seq, item))
        if self.socket is None:
            await self.unanswered(text)
            return
        if self.bug in ("a hung ML service stops everything", "naive"):
            self.owed.append(((own, sec), text, time.monotonic()))
            with suppress(Closed):
                await self.socket.send(text)
            return
        if self.bug == "a connection per sensor" and own not in self.more:
            self.more[own] = await dial(*self.address, self.path)
        self.outbox.append((own, text))
        self.wake.set()

    def request(self, own, sec, fhr, uterus, spasms, seq, item):
        if fhr is None and self.bug == "sends 0 for no signal":
            fhr = 0
        if self.bug == "sends 0 for what isn't measured":
            uterus, spasms = uterus or 0, spasms or 0
        data = {"BPMChild": fhr, "uterus": uterus, "spasms": spasms}
        if self.bug == "omits null members":
            data = {k: v for k, v in data.items() if v is not None}
        if self.bug == "rounds what it sends":
            data = {k: v and round(v, 2) for k, v in data.items()}
        if self.bug == "keeps the sensor's spelling" and item:
            spelt = {k.lower(): k for k in item["data"]}
            data = {spelt.get(k.lower(), k): v for k, v in data.items()}
        more = {"seq": seq} if self.bug == "forwards numbers" and seq is not None else {}
        return {"sensorID": own, "secFromStart": sec, "data": data, **more}

    async def run(self):
        while True:
            linked = False
            try:
                self.socket = await dial(*self.address, self.path)
                linked = True
                if self.bug == "shows answers to what it sends again":
                    for _, text in self.sent:
                        await self.socket.send(text)
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
            if self.bug == "dials once" and not linked and not self.tried:
                return
            if self.bug == "redials once" and not linked and self.tried:
                return
            self.tried = linked or getattr(self, "tried", False)
            hasty = self.bug == "redials at once after a close" and linked
            await asyncio.sleep(0 if hasty or self.bug == "redials at once" else 0.15)

    tried, burst, result_at_s = False, 0, 0.0

    async def send(self, socket):
        with suppress(Closed):
            while True:
                await self.wake.wait()
                self.wake.clear()
                while self.outbox:
                    own, text = self.outbox.popleft()
                    sec = json.loads(text)["secFromStart"]
                    self.owed.append(((own, sec), text, time.monotonic()))
                    self.sent.append((own, text))
                    await self.more.get(own, socket).send(text)

    async def watch(self):
        while True:
            await asyncio.sleep(0.1)
            before = time.monotonic() - self.silent_s
            if self.bug == "one timer for the service" and self.heard_at_s > before:
                continue
            for asked in [a for a in self.owed if a[2] < before]:
                if self.bug != "shows unanswered samples again":
                    self.owed.remove(asked)
                await self.unanswered(asked[1])

    async def give_up(self):
        while self.owed:
            await self.unanswered(self.owed.pop(0)[1])

    def answer(self, key, text):
        """Take the request that a result answers; return whether there was one."""
        if self.bug == "never notes an answer":
            return True
        if self.bug == "compares times as texts":
            wrote = text.partition('"secFromStart": ')[2].partition(",")[0]
            found = [a for a in self.owed if (a[0][0], str(a[0][1])) == (key[0], wrote)]
        else:
            found = [a for a in self.owed if a[0] == key]
        if not found:
            return False
        if self.bug == "a result answers all of its moment":
            self.owed = [a for a in self.owed if a not in found]
        elif self.bug == "a result answers all before it":
            self.owed = self.owed[self.owed.index(found[0]) + 1 :]
        else:
            self.owed.remove(found[0])
        return True

    async def result(self, text):
        """Check a result, and relay it as it came."""
        found, self.heard_at_s = self.problem(text), time.monotonic()
        if found == "error" and self.owed:
            await self.unanswered(self.owed.pop(0)[1])
        if found == "":
            message = json.loads(text)
            key = (message["sensorID"], message["secFromStart"])
            late = not self.answer(key, text)
            if self.bug == "forgets sensors that left" and key[0] not in self.backend.sensors:
                return
            if message["prediction"]:
                self.backend.predicted[message["sensorID"]] = text
            if self.bug == "rewrites results":
                text = json.dumps(message)
            if late and self.bug == "drops late results":
                return
            now_s = time.monotonic()
            self.burst = self.burst + 1 if now_s - self.result_at_s < 0.005 else 0
            self.result_at_s = now_s
            if self.bug == "loses a result in a burst" and self.burst == 10 and self.owed:
                return
        if found and self.bug == "hangs up on garbage":
            raise Closed
        if (
            found == ""
            or self.bug == "relays garbage"
            or (found == "type" and self.bug == "relays wrong types")
            or (found == "missing" and self.bug == "needs no status in a result")
            or (found == "prediction" and self.bug == "relays any prediction")
            or (found == "stranger" and self.bug == "relays results of strangers")
        ):
            await self.backend.publish(text)

    def problem(self, text):
        nan = {} if self.bug == "relays NaN" else {"parse_constant": no_constant}
        try:
            message = json.loads(text, **nan)
        except ValueError:
            return "json"
        if not isinstance(message, dict):
            return "json"
        if not isinstance(message.get("sensorID"), str):
            return "error" if message.get("status") == "error" else "id"
        if message["sensorID"].lower() not in self.backend.tokens:
            return "stranger"
        if any(name not in message for name in ("secFromStart", "data", "status")):
            return "missing"
        types = (("secFromStart", (int, float)), ("data", dict), ("status", str))
        if not all(isinstance(message.get(name), kind) for name, kind in types):
            return "type"
        prediction = message.get("prediction")
        if not isinstance(prediction, dict | None):
            return "type"
        if self.bug == "relays NaN" or prediction is None:
            return ""
        likely = prediction.get("hypoxia_probability", 0)
        told = isinstance(prediction.get("alerts", []), list)
        return "" if told and 0 <= likely <= 1 else "prediction"

    async def unanswered(self, text):
        if self.bug == "shows nothing without the ML service":
            return
        rest = {"prediction": None, "status": "error", "timestamp": STAMP}
        if self.bug == "says ok without a result":
            rest["status"] = "ok"
        await self.backend.publish(json.dumps(json.loads(text) | rest))
