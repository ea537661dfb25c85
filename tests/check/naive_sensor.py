"""A small sensor of its own, in which mistakes can be switched on; shares nothing with ctgkit."""

import asyncio
import contextlib
import json
import uuid

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

FAULTS = {
    "": set(),
    "never redials": {"S-7.1/redials"},
    "redials at once, for ever": {"S-7.1/pauses"},
    "waits 5 s before it redials": {"S-7.1/redials"},
    "token in the URL": {"S-1.1/dials"},
    "another sensor's id": {"S-4.1/sample"},
    "numbers stand still": {"S-6.2/numbers"},
    "texts for numbers": {"S-4.1/sample"},
    "texts for numbers behind the first of an array": {"S-4.1/sample"},
    "needs ctgkit.v1": {"S-6.1/without"},
    "a new name for each connection": {"S-6.7/name"},
    "forgets what waits": {"S-6.5/again"},
    "sends rejected ones again": {"S-6.5/again"},
    "sends what is refused for ever": {"S-7.2/dropped"},
    "redials after 401": {"S-7.2/refused"},
    "takes over again": {"S-7.2/replaced"},
    "waits for ever": {"S-7.3/redials"},
}
"""Mistake -> the checks that find it."""
PERIOD_S = 0.05


class NaiveSensor:
    """Sends for ever, as PROTOCOL says; apart from one mistake."""

    def __init__(self, port, bug=""):
        self.port, self.bug = port, bug
        self.id, self.stream, self.seq = str(uuid.uuid4()), str(uuid.uuid4()), 0
        self.waiting = {}
        self.suspect = None
        self.worth = False

    async def run(self):
        pause_s = 0.2
        while True:
            code = await self.visit()
            if code == 4409 and self.bug != "takes over again":
                return
            if code == 401 and self.bug != "redials after 401":
                await asyncio.sleep(35)
            if self.bug == "never redials":
                return
            pause_s = 0.2 if self.worth else min(2 * pause_s, 30)
            slow = {"redials at once, for ever": 0.02, "waits 5 s before it redials": 5}
            await asyncio.sleep(slow.get(self.bug, pause_s))

    async def visit(self):
        url = f"ws://127.0.0.1:{self.port}/ws/sensor?sensor_id={self.id}"
        if self.bug == "token in the URL":
            url += "&token=secret-token"
        if self.bug == "a new name for each connection":
            self.stream = str(uuid.uuid4())
        self.worth = False
        headers = {"X-Auth-Sensor-Token": "secret-token", "X-Sensor-Stream": self.stream}
        try:
            async with connect(
                url, additional_headers=headers, subprotocols=["ctgkit.v1"], proxy=None
            ) as link:
                return await self.converse(link)
        except InvalidStatus as refused:
            return refused.response.status_code
        except (OSError, WebSocketException):
            return 1006

    async def converse(self, link):
        numbered = link.subprotocol is not None
        if self.bug == "needs ctgkit.v1" and not numbered:
            await asyncio.sleep(3600)
        if self.bug == "forgets what waits":
            self.waiting.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.hear(link))
            with contextlib.suppress(ConnectionClosed):
                for text in [*self.waiting.values()]:
                    await link.send(text)
                    if self.suspect is not None:  # one by one until it is known which it was
                        await asyncio.sleep(PERIOD_S)
                while True:
                    await self.send_new(link, numbered)
                    await asyncio.sleep(PERIOD_S)
        return self.ended(link.close_code)

    async def send_new(self, link, numbered):
        self.seq += self.bug != "numbers stand still" or self.seq == 0
        message = {
            "sensorID": str(uuid.uuid4()) if self.bug == "another sensor's id" else self.id,
            "secFromStart": self.seq / 4,
            "data": {"BPMChild": 140.5, "uterus": 12.0, "spasms": 0.0},
        }
        if self.bug == "texts for numbers":
            message["data"]["uterus"] = "12.0"
        if numbered:
            message["seq"] = self.seq
            self.waiting[self.seq] = json.dumps(message)
        text = json.dumps(message)
        if self.bug == "texts for numbers behind the first of an array":
            bad = message | {"data": {"BPMChild": "140.5", "uterus": 12.0, "spasms": 0.0}}
            if numbered:
                self.seq += 1
                bad["seq"] = self.seq
                self.waiting[self.seq] = json.dumps(bad)
            text = json.dumps([message, bad])
        await link.send(text)

    async def hear(self, link):
        while True:
            try:
                async with asyncio.timeout(None if self.bug == "waits for ever" else 30):
                    reply = json.loads(await link.recv())
            except TimeoutError:
                if link.subprotocol is None:
                    continue
                link.transport.abort()
                return
            except ConnectionClosed:
                return
            self.worth = True
            if "ack" in reply:
                for seq in [s for s in self.waiting if s <= reply["ack"]]:
                    del self.waiting[seq]
            elif self.bug != "sends rejected ones again":
                self.waiting.pop(reply["seq"], None)

    def ended(self, code):
        """Drop the oldest that waits when it was refused twice."""
        oldest = next(iter(self.waiting), None)
        if code == 1009 and self.bug != "sends what is refused for ever":
            if oldest is not None and self.suspect == oldest:
                del self.waiting[oldest]
            self.suspect = oldest
        return code
